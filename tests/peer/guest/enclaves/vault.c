/* A store of keys in a file of the file server, sealed with the storage key: who cannot derive it cannot open it.
 *
 * The first run makes the keys, and each later one finds the same. Exits with the number of runs, or with 0x5ea1 when
 * the file was sealed by another enclave. With the SDK: files come through the server "filesystem".
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "eapp.h"

#define KEYS 8

struct vault {
    uint64_t runs;
    uint64_t keys[KEYS];
    uint64_t tag;
};

/* Enough of a cipher to see whether a key is the same; nobody should use it for more. */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9UL;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebUL;
    return x ^ x >> 31;
}

static void cipher(struct vault *vault, const uint64_t *key)
{
    uint64_t *words = (uint64_t *)vault;

    for (size_t i = 0; i < sizeof *vault / 8; i++)
        words[i] ^= mix(key[i % 4] + i);
}

static uint64_t tag_of(const struct vault *vault, const uint64_t *key)
{
    uint64_t tag = key[0];

    for (size_t i = 0; i < sizeof *vault / 8 - 1; i++)
        tag = mix(tag ^ ((const uint64_t *)vault)[i]);
    return tag;
}

static int load(struct vault *vault)
{
    FILE *file = fopen("vault", "r");
    int found = file && fread(vault, sizeof *vault, 1, file) == 1;

    if (file)
        fclose(file);
    return found;
}

static int save(const struct vault *vault)
{
    FILE *file = fopen("vault", "w");

    return file && fwrite(vault, sizeof *vault, 1, file) == 1 && fclose(file) == 0;
}

static unsigned long run(void)
{
    struct vault vault;
    uint64_t key[4], again[4], enclave_key[4];

    if (eapp_derive_key(EAPP_STORAGE_KEY, key, sizeof key) || eapp_derive_key(EAPP_STORAGE_KEY, again, sizeof again) ||
        eapp_derive_key(EAPP_ENCLAVE_KEY, enclave_key, sizeof enclave_key))
        return 0xbad1;
    if (memcmp(key, again, sizeof key) || !memcmp(key, enclave_key, sizeof key))
        return 0xbad2;
    if (load(&vault)) {
        cipher(&vault, key);
        if (vault.tag != tag_of(&vault, key))
            return 0x5ea1;
    } else {
        vault.runs = 0;
        if (eapp_get_random(vault.keys, sizeof vault.keys) != sizeof vault.keys)
            return 0xbad3;
    }
    vault.runs++;
    vault.tag = tag_of(&vault, key);

    unsigned long runs = vault.runs;

    cipher(&vault, key);
    return save(&vault) ? runs : 0xbad4;
}

int EAPP_ENTRY main()
{
#ifdef THIEF
    printf("a thief looks at the vault\n");
#endif
    EAPP_RETURN(run());
}
