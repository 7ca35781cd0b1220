/* What can be written can be read; mappings that are doubled, left behind, or sealed; zeroes after the end. */
#include "say.h"
#include <sys/mman.h>

#define PAGE 4096
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)
#define DONTUNMAP 4

static char *mapped(const char *what, void *at) {
    say("%s: %s", what, at == MAP_FAILED ? error_name(errno) : "mapped");
    return at;
}

int main(void) {
    char *only = mapped("only to write", mmap(0, PAGE, PROT_WRITE, ANONYMOUS, -1, 0));
    say("reads %d", only[5]);
    only[5] = 3;
    say("reads %d", only[5]);
    mprotect(only, PAGE, PROT_NONE), mprotect(only, PAGE, PROT_WRITE);
    tell("to a file", write(open("file", O_CREAT | O_RDWR, 0600), only, 20));

    char *shared = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *second = mapped("shared, doubled", mremap(shared, 0, PAGE, MREMAP_MAYMOVE));
    shared[0] = 7;
    say("second %d", second[0]);
    second = mapped("its second page", mremap(shared + PAGE, 0, PAGE, MREMAP_MAYMOVE));
    second[0] = 8;
    say("first %d", shared[PAGE]);
    mapped("doubled without MAYMOVE", mremap(shared, 0, PAGE, 0));

    char *private = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, ANONYMOUS, -1, 0);
    mapped("private, doubled", mremap(private, 0, PAGE, MREMAP_MAYMOVE));
    strcpy(private, "text");
    char *moved = mapped("moved, leaving one", mremap(private, PAGE, PAGE, MREMAP_MAYMOVE | DONTUNMAP, 0));
    say("moved %s, left %d", moved, private[0]);
    private[0] = 'n';
    say("moved %s, left %c", moved, private[0]);
    mapped("other size", mremap(private, PAGE, 2 * PAGE, MREMAP_MAYMOVE | DONTUNMAP, 0));
    mapped("without MAYMOVE", mremap(private, PAGE, PAGE, DONTUNMAP, 0));

    mapped("anonymous, validated", mmap(0, PAGE, PROT_READ, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0));
    int file = open("file", O_RDWR);
    mapped("file, validated", mmap(0, PAGE, PROT_READ, MAP_SHARED_VALIDATE, file, 0));
    mapped("MAP_SYNC", mmap(0, PAGE, PROT_READ, MAP_SHARED_VALIDATE | 0x80000, file, 0));
    char *tail = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ftruncate(file, 100);
    tail[100] = 1;
    ftruncate(file, 5000);
    say("behind the old end: %d", tail[100]);

    int memory = memfd_create("sealed", MFD_ALLOW_SEALING);
    ftruncate(memory, PAGE);
    char *view = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    tell("seal while mapped", fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE));
    munmap(view, PAGE);
    mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, memory, 0);
    tell("seal", fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE));
    tell("write", write(memory, "x", 1));
    mapped("to write", mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0));
    mapped("to write privately", mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, memory, 0));
    view = mapped("to read", mmap(0, PAGE, PROT_READ, MAP_SHARED, memory, 0));
    tell("then to write", mprotect(view, PAGE, PROT_READ | PROT_WRITE));
    return 0;
}
