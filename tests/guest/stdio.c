/* Checks the C library's files against the file system server. Prints "stdio: ok", or the check that failed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eapp.h"
#include "fs_protocol.h"

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            printf("stdio: line %d failed: %s\n", __LINE__, #condition);    \
            exit(1);                                                        \
        }                                                                   \
    } while (0)

#define CHECK_FAILS(call, number)  \
    do {                           \
        errno = 0;                 \
        CHECK(call);               \
        CHECK(errno == (number));  \
    } while (0)

static void check_modes(void)
{
    char text[32] = "";
    FILE *file;

    CHECK_FAILS(!fopen("none", "r"), ENOENT);
    CHECK_FAILS(!fopen("none", "r+"), ENOENT);
    CHECK_FAILS(!fopen("f", "q"), EINVAL);
    CHECK_FAILS(!fopen("f", "w?"), EINVAL);
    CHECK_FAILS(!fopen("", "w"), EINVAL);
    CHECK_FAILS(!fopen("a\nb", "w"), EINVAL);
    memset(text, 'n', 31);
    CHECK_FAILS(!fopen("0123456789012345678901234567890123456789012345678901234567890123", "w"), ENAMETOOLONG);

    CHECK((file = fopen("f", "w")));
    CHECK(fputs("0123456789", file) == 0 && ftell(file) == 10);
    CHECK_FAILS(fgetc(file) == EOF, EBADF);
    CHECK(ferror(file));
    clearerr(file);
    CHECK(!ferror(file) && fclose(file) == 0);
    CHECK_FAILS(!fopen("f", "wx"), EEXIST);

    CHECK((file = fopen("f", "r")));
    CHECK_FAILS(fputc('x', file) == EOF, EBADF);
    CHECK(fread(text, 3, 10, file) == 3 && memcmp(text, "012345678", 9) == 0); /* the tenth byte is read too */
    CHECK(feof(file) && fgetc(file) == EOF && ftell(file) == 10);
    rewind(file);
    CHECK(!feof(file) && fgetc(file) == '0' && ungetc('z', file) == 'z' && ftell(file) == 0);
    CHECK(ungetc('y', file) == EOF && fgetc(file) == 'z' && fgetc(file) == '1');
    fclose(file);

    CHECK((file = fopen("f", "r+")));
    CHECK(fgetc(file) == '0' && fputc('A', file) == 'A' && fgetc(file) == '2');
    CHECK(fseek(file, -2, SEEK_END) == 0 && fputs("XYZ", file) == 0);
    CHECK_FAILS(fseek(file, -1, SEEK_SET) == EOF, EINVAL);
    CHECK(fseek(file, -3, SEEK_CUR) == 0 && fgetc(file) == 'X');
    rewind(file);
    CHECK(fgets(text, sizeof text, file) && strcmp(text, "0A234567XYZ") == 0);
    CHECK(!fgets(text, sizeof text, file));
    fclose(file);

    CHECK((file = fopen("f", "a+")));
    CHECK(ftell(file) == 11 && fputs("end", file) == 0);
    rewind(file);
    CHECK(fputs("!", file) == 0 && ftell(file) == 1); /* the server says where it went when it is written */
    CHECK(fflush(file) == 0 && ftell(file) == 15);
    rewind(file);
    CHECK(fgets(text, 5, file) && strcmp(text, "0A23") == 0);
    CHECK(fgets(text, sizeof text, file) && strcmp(text, "4567XYZend!") == 0);
    fclose(file);

    CHECK((file = fopen("f", "w+")) && fgetc(file) == EOF);
    fclose(file);
    CHECK(remove("f") == 0);
    CHECK_FAILS(remove("f") == -1, ENOENT);
}

static void check_holes_and_limits(void)
{
    static char block[10000];
    FILE *file = fopen("big", "w+");
    size_t written = 0;

    CHECK(file && fseek(file, 50000, SEEK_SET) == 0 && fputc('x', file) == 'x');
    CHECK(fseek(file, 0, SEEK_END) == 0 && ftell(file) == 50001);
    rewind(file);
    CHECK(fread(block, 1, sizeof block, file) == sizeof block && block[0] == 0 && block[9999] == 0);
    CHECK(fseek(file, 50000, SEEK_SET) == 0 && fgetc(file) == 'x');
    rewind(file);
    memset(block, 'b', sizeof block);
    for (int i = 0; i < 100 && !ferror(file); i++)
        written += fwrite(block, 1, sizeof block, file);
    CHECK(ferror(file) && errno == EFBIG && written >= 92 * 4096);
    CHECK(fseek(file, 0, SEEK_END) == 0 && ftell(file) == 92 * 4096);
    fclose(file);

    for (int i = 0; i < 4; i++) {
        char name[] = {'n', (char)('0' + i), 0};

        CHECK((file = fopen(name, "w")));
        for (int k = 0; k < 36; k++)
            fwrite(block, 1, sizeof block, file);
        if (fclose(file) || i == 3)
            break;
    }
    CHECK(errno == ENOSPC);
    CHECK(remove("big") == 0 && (file = fopen("n0", "r+")) && fgetc(file) == 'b');
    fclose(file);
    remove("n0"), remove("n1"), remove("n2"), remove("n3");
}

static void check_handles(void)
{
    FILE *files[17];
    int count = 0;

    while (count < 17 && (files[count] = fopen("many", "w")))
        count++;
    CHECK(count == 16 && errno == EMFILE);
    CHECK(fputs("lost", files[0]) == 0 && remove("many") == 0);
    CHECK_FAILS(fclose(files[0]) == EOF, EBADF);
    while (--count > 0)
        fclose(files[count]);
}

int EAPP_ENTRY main()
{
    struct fs_entry entry;

    check_modes();
    check_holes_and_limits();
    check_handles();
    CHECK(fs_list(0, &entry, 1) == 0);

    FILE *left = fopen("left open", "w");

    fprintf(left, "%s %d", "written at exit", 1);
    fprintf(stdout, "stdio: %s\n", "ok");
    CHECK(fgetc(stdin) == EOF && feof(stdin));
    CHECK_FAILS(ftell(stdout) == -1, ESPIPE);
    return 0;
}
