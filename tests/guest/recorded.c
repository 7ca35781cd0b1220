/* Reads, lists, follows, writes: what a recording has to give again. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void show(const char *path) {
    char text[200] = "";
    int file = open(path, O_RDONLY);
    ssize_t size = file < 0 ? -1 : read(file, text, sizeof text - 1);
    struct stat status = {0};
    int seen = lstat(path, &status);
    if (size > 0 && text[size - 1] == '\n') text[size - 1] = 0;
    printf("%s: %s (%zd, %d, %o, %ld)\n", path, text, size, seen, status.st_mode, (long)status.st_size);
    if (file >= 0) close(file);
}

static void list(const char *path) {
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) printf("%s has %s\n", path, entry->d_name);
    if (folder) closedir(folder);
}

int main(void) {
    const char *paths[] = {"two", "link", "sub/one", "sub/absolute", "missing", "/two", "sub/../two", "."};
    char line[100];
    for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) show(paths[i]);
    list(".");
    list("sub");
    while (fgets(line, sizeof line, stdin)) printf("input: %s", line);
    FILE *file = fopen("two", "w");
    fputs("changed\n", file);
    fclose(file);
    show("two");
    rename("sub/one", "moved");
    unlink("link");
    mkdir("new", 0700);
    show("moved");
    list(".");
    return 0;
}
