/* What an enclave needs of the document, and no SDK: entry, calls, and words for what differs.
 *
 * A program is `void program(const unsigned long *x)`: x[N] is register xN at entry (section 2).
 */
#ifndef BARE_H
#define BARE_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t u64;

#define PAGE 4096UL
#define HEAP 0x1000000000UL     /* section 1 */
#define MMAP_TOP 0x3000000000UL
#define STACK_TOP 0x3800000000UL
#define RELAY_AT 0x3800000000UL
#define SHARED_AT 0x3900000000UL
#define KBUFFER ((volatile char *)0xffffffe000000000UL)
#define FAILED (-1UL)

enum call { SHM_STAT = 83, SHM_ATTACH, DERIVE_KEY = 88, YIELD, ENCLAVE_ID, CALLER_ID, SPLIT, ASYNCHRONOUS, REPORT,
            RETURN, CALL, ACQUIRE, OCALL, EXIT };
enum ocall { MMAP = 1, MUNMAP, WRITE, SBRK, READ_SECTOR, WRITE_SECTOR, RETURN_RELAY, RANDOM, SHM_GET, SHM_DETACH,
             SHM_DESTROY };

struct call_struct {
    u64 req_arg, resp_val, req_vaddr, req_size, resp_vaddr, resp_size;
};

static inline u64 raw(u64 a6_, u64 a7_, u64 a0_, u64 a1_, u64 a2_, u64 a3_)
{
    register u64 a0 __asm__("a0") = a0_, a1 __asm__("a1") = a1_, a2 __asm__("a2") = a2_, a3 __asm__("a3") = a3_;
    register u64 a6 __asm__("a6") = a6_, a7 __asm__("a7") = a7_;

    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a6), "r"(a7) : "memory");
    return a0;
}

static inline u64 call(u64 function, u64 a0, u64 a1, u64 a2)
{
    return raw(0x100101, function, a0, a1, a2, 0);
}

static inline u64 ocall(u64 number, u64 a1, u64 a2, u64 a3)
{
    return raw(0x100101, OCALL, number, a1, a2, a3);
}

__attribute__((noreturn)) static inline void leave(u64 value)
{
    call(EXIT, value, 0, 0);
    __builtin_trap(); /* exit does not return: the host sees a fault */
}

/* One message of the kernel. */
static inline void say(const char *text)
{
    size_t i = 0;

    for (; text[i] && i < 511; i++)
        KBUFFER[i] = text[i];
    KBUFFER[i] = '\0';
    ocall(WRITE, 0, 0, 0);
}

static inline char *append(char *to, const char *text)
{
    while (*text)
        *to++ = *text++;
    return to;
}

static inline char *append_hex(char *to, u64 value)
{
    int digits = 1;

    while (digits < 16 && value >> (4 * digits))
        digits++;
    to = append(to, "0x");
    while (digits--)
        *to++ = "0123456789abcdef"[value >> (4 * digits) & 15];
    return to;
}

static inline void say_value(const char *text, u64 value)
{
    char line[256], *end = append_hex(append(append(line, text), " "), value);

    *append(end, "\n") = '\0';
    say(line);
}

static inline void must(const char *what, u64 got, u64 wanted)
{
    char line[400], *end = line;

    if (got == wanted)
        return;
    end = append_hex(append(append(append(end, "enclave: "), what), " gives "), got);
    end = append_hex(append(end, ", and should give "), wanted);
    *append(end, "\n") = '\0';
    say(line);
    leave(0xbad);
}

#define MUST(what, wanted) must(#what, (u64)(what), (u64)(wanted))
#define HOLDS(condition) must(#condition, !!(condition), 1)

static inline int filled(const volatile char *memory, char value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (memory[i] != value)
            return 0;
    return 1;
}

static inline void fill(volatile char *memory, char value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        memory[i] = value;
}

void program(const u64 *x);

#endif
