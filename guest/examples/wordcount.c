/* Ordinary C: counts the words of a file, or of a text of its own. Only EAPP_ENTRY makes it an enclave.
 *
 * With the server "filesystem" (fs-server.c) it writes the text to a file first and reads it back line by line.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eapp.h"

#define FILE_NAME "rhyme.txt"
#define SHOWN 5

static const char text[] =
    "If a woodchuck could chuck wood,\n"
    "how much wood would a woodchuck chuck?\n"
    "As much wood as a woodchuck could,\n"
    "if a woodchuck could chuck wood.\n";

struct word {
    char *text;
    int count;
};

static struct word *words;
static size_t used, room;

static void count_word(const char *word)
{
    for (size_t i = 0; i < used; i++)
        if (strcmp(words[i].text, word) == 0) {
            words[i].count++;
            return;
        }
    if (used == room) {
        room = room ? 2 * room : 8;
        words = realloc(words, room * sizeof *words);
    }

    char *copy = strdup(word);

    if (!words || !copy) {
        fprintf(stderr, "wordcount: out of memory\n");
        exit(EXIT_FAILURE);
    }
    words[used++] = (struct word){copy, 1};
}

static void count_line(char *line)
{
    for (char *c = line; *c; c++)
        *c = isalpha((unsigned char)*c) ? (char)tolower((unsigned char)*c) : ' ';
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        count_word(word);
}

static int by_count(const void *a, const void *b)
{
    const struct word *x = a, *y = b;

    return x->count != y->count ? y->count - x->count : strcmp(x->text, y->text);
}

static int count_file(FILE *file)
{
    char line[128];
    int lines = 0;

    fputs(text, file);
    rewind(file);
    for (; fgets(line, sizeof line, file); lines++)
        count_line(line);
    if (ferror(file))
        perror(FILE_NAME);
    fclose(file);
    return lines;
}

int EAPP_ENTRY main()
{
    FILE *file = fopen(FILE_NAME, "w+");

    if (file) {
        printf("wordcount: %d lines in " FILE_NAME "\n", count_file(file));
    } else {
        printf("wordcount: no files (%s), counting a text of my own\n", strerror(errno));

        char *copy = strdup(text);

        if (copy)
            count_line(copy);
        free(copy);
    }

    qsort(words, used, sizeof *words, by_count);
    printf("%zu different words\n", used);
    for (size_t i = 0; i < used && i < SHOWN; i++)
        printf("%6d %s\n", words[i].count, words[i].text);
    for (size_t i = 0; i < used; i++)
        free(words[i].text);
    free(words);
    return EXIT_SUCCESS;
}
