/* The ELF file and the parameters of a new enclave. */
#include "internal.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_all(int fd, char *to, size_t size)
{
    while (size) {
        ssize_t got = read(fd, to, size);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            if (got == 0)
                errno = EIO; /* it has become shorter */
            return -1;
        }
        to += got;
        size -= got;
    }
    return 0;
}

static int read_file(int fd, struct elf_args *elf)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return -1;
    if (!S_ISREG(status.st_mode) || status.st_size <= 0) {
        errno = S_ISDIR(status.st_mode) ? EISDIR : ENOEXEC;
        return -1;
    }
    char *memory = malloc(status.st_size);

    if (!memory)
        return -1;
    if (read_all(fd, memory, status.st_size) < 0) {
        int cause = errno;

        free(memory);
        errno = cause;
        return -1;
    }
    elf->ptr = memory;
    elf->size = status.st_size;
    return 0;
}

int elf_args_init(struct elf_args *elf, const char *filename)
{
    int fd = open(filename, O_RDONLY | O_CLOEXEC);
    int result = 0;

    elf->ptr = NULL;
    elf->size = 0;
    if (fd < 0 || read_file(fd, elf) < 0)
        result = penglai_failed("read the enclave %s", filename);
    if (fd >= 0)
        close(fd);
    return result;
}

int elf_valid(const struct elf_args *elf)
{
    Elf64_Ehdr header;

    if (!elf->ptr || elf->size < sizeof header)
        return 0;
    memcpy(&header, elf->ptr, sizeof header);
    return memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_ident[EI_CLASS] == ELFCLASS64 &&
           header.e_ident[EI_DATA] == ELFDATA2LSB && header.e_machine == EM_RISCV;
}

void elf_args_destroy(struct elf_args *elf)
{
    free(elf->ptr);
    elf->ptr = NULL;
    elf->size = 0;
}

void enclave_args_init(struct enclave_args *args)
{
    memset(args, 0, sizeof *args);
    args->type = NORMAL_ENCLAVE;
    args->stack_size = DEFAULT_STACK_SIZE;
}
