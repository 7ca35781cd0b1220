/* Shared memory and semaphores by name: files in /dev/shm. */
#include "say.h"
#include <dirent.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>

static void names(void) {
    char line[256] = "";
    DIR *folder = opendir("/dev/shm");
    struct dirent *one;
    int count = 0;
    while ((one = readdir(folder)))
        if (strstr(one->d_name, "pltvm-test")) count++;
    closedir(folder);
    say("names: %d", count);
}

int main(void) {
    struct stat info;
    struct statfs system;
    tell("statfs", statfs("/dev/shm", &system));
    yes("tmpfs", system.f_type == 0x01021994);
    shm_unlink("/pltvm-test-1"), sem_unlink("/pltvm-test-2");
    tell("not there", shm_open("/pltvm-test-1", O_RDWR, 0600));
    int fd = shm_open("/pltvm-test-1", O_RDWR | O_CREAT | O_EXCL, 0640);
    told("shm_open", fd);
    tell("exclusive", shm_open("/pltvm-test-1", O_RDWR | O_CREAT | O_EXCL, 0600));
    tell("ftruncate", ftruncate(fd, 8192));
    int *shared = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    yes("mmap", shared != MAP_FAILED);
    close(fd);
    tell("stat", stat("/dev/shm/pltvm-test-1", &info));
    say("mode %#o, size %ld, links %ld", info.st_mode, (long)info.st_size, (long)info.st_nlink);
    sem_t *semaphore = sem_open("/pltvm-test-2", O_CREAT, 0600, 0);
    yes("sem_open", semaphore != SEM_FAILED);
    names();
    pid_t pid = forked();
    if (!pid) {
        int again = shm_open("/pltvm-test-1", O_RDWR, 0);
        int *mine = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0);
        mine[1500] = 42;
        sem_post(sem_open("/pltvm-test-2", 0));
        _exit(0);
    }
    tell("sem_wait", sem_wait(semaphore));
    say("the child wrote %d", shared[1500]);
    reap("child", pid);
    tell("chmod", chmod("/dev/shm/pltvm-test-1", 0600));
    tell("rename", rename("/dev/shm/pltvm-test-1", "/dev/shm/pltvm-test-3"));
    tell("link", link("/dev/shm/pltvm-test-3", "/dev/shm/pltvm-test-4"));
    tell("stat", stat("/dev/shm/pltvm-test-4", &info));
    say("mode %#o, links %ld", info.st_mode, (long)info.st_nlink);
    tell("to the disk", link("/dev/shm/pltvm-test-4", "pltvm-test-5"));
    close(open("on-disk", O_RDWR | O_CREAT, 0600));
    tell("from the disk", link("on-disk", "/dev/shm/pltvm-test-5"));
    tell("rename from the disk", rename("on-disk", "/dev/shm/pltvm-test-5"));
    tell("rename over a name", rename("on-disk", "/dev/shm/pltvm-test-4"));
    tell("rename to the disk", rename("/dev/shm/pltvm-test-4", "on-disk"));
    fd = open("/dev/shm/pltvm-test-4", O_RDONLY);
    tell("open", pread(fd, &(int){0}, 4, 6000));
    tell("unlink", shm_unlink("/pltvm-test-3"));
    tell("unlink", shm_unlink("/pltvm-test-4"));
    tell("unlink", shm_unlink("/pltvm-test-4"));
    tell("sem_unlink", sem_unlink("/pltvm-test-2"));
    fstat(fd, &info);
    say("links %ld, size %ld", (long)info.st_nlink, (long)info.st_size);
    names();
    say("still %d", shared[1500]);
    return 0;
}
