/* Uses the server filesystem: writes, reads back, appends, seeks, lists and removes files. Prints what it does. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eapp.h"
#include "fs_protocol.h"

#define MOST_SHOWN 16

static FILE *open_or_stop(const char *name, const char *mode)
{
    FILE *file = fopen(name, mode);

    if (!file) {
        printf("[fs] %s: %s\n", name, strerror(errno));
        exit(1);
    }
    return file;
}

/* A number in a file, one more with each run: files outlive the client. */
static void count_runs(void)
{
    FILE *file = fopen("runs", "r+");
    char text[16] = "";
    int runs = 0;

    if (file)
        sscanf(fgets(text, sizeof text, file) ? text : "", "%d", &runs);
    else
        file = open_or_stop("runs", "w");
    rewind(file);
    fprintf(file, "%d\n", runs + 1);
    fclose(file);
    printf("[fs] run %d\n", runs + 1);
}

static void show(const char *name)
{
    FILE *file = open_or_stop(name, "r");
    char line[80];

    while (fgets(line, sizeof line, file))
        printf("[fs] %s: %s", name, line);
    fclose(file);
}

static void write_notes(void)
{
    FILE *file = open_or_stop("notes", "w");

    fputs("first line\n", file);
    fprintf(file, "line number %d\n", 2);
    fclose(file);

    file = open_or_stop("notes", "a");
    fputs("appended\n", file);
    fclose(file);
    show("notes");

    file = open_or_stop("notes", "r+");
    fseek(file, 6, SEEK_SET);
    fputs("LINE", file);
    fseek(file, 0, SEEK_END);
    printf("[fs] notes: %ld bytes\n", ftell(file));
    fclose(file);
    show("notes");
}

/* More than a request carries. */
static void write_large(void)
{
    FILE *file = open_or_stop("large", "w+");
    unsigned value;
    int wrong = 0;

    for (unsigned i = 0; i < 10000; i++) {
        value = i * i;
        fwrite(&value, sizeof value, 1, file);
    }
    rewind(file);
    for (unsigned i = 0; fread(&value, sizeof value, 1, file) == 1; i++)
        wrong += value != i * i;
    printf("[fs] large: %ld bytes, %d wrong\n", ftell(file), wrong);
    if (fclose(file))
        perror("[fs] large");
}

static void list(void)
{
    struct fs_entry entries[MOST_SHOWN];
    long count = fs_list(0, entries, MOST_SHOWN);

    for (long i = 0; i < count; i++)
        printf("[fs] %6lu %s\n", entries[i].size, entries[i].name);
}

int EAPP_ENTRY main()
{
    count_runs();
    write_notes();
    write_large();
    rename("large", "squares");
    list();
    remove("squares");
    remove("notes");
    if (!fopen("notes", "r"))
        printf("[fs] notes: %s\n", strerror(errno));
    return 0;
}
