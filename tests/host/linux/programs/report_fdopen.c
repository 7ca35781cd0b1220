/* Streams over descriptors: fdopen asks fcntl(F_GETFL) whether the mode fits, and seeks for "a". */
#include "say.h"

int main(void) {
    char line[64];
    int fd = open("stream", O_RDWR | O_CREAT | O_TRUNC, 0644);
    yes("open", fd >= 0);
    FILE *stream = fdopen(fd, "w+");
    yes("fdopen w+", stream != 0);
    if (!stream) return 1;
    yes("same descriptor", fileno(stream) == fd);
    say("written: %d", fprintf(stream, "%s %d\n", "one", 1));
    tell("fflush", fflush(stream));
    rewind(stream);
    say("read back: %s", fgets(line, sizeof line, stream) ? strtok(line, "\n") : "nothing");
    yes("at the end", fgetc(stream) == EOF);
    yes("feof", feof(stream) != 0);
    tell("fclose", fclose(stream));
    tell("descriptor is closed", fcntl(fd, F_GETFD));

    /* "a" sets O_APPEND on a descriptor that lacks it. */
    fd = open("stream", O_WRONLY);
    stream = fdopen(fd, "a");
    yes("fdopen a", stream != 0);
    yes("O_APPEND is set", (fcntl(fd, F_GETFL) & O_APPEND) != 0);
    lseek(fd, 0, SEEK_SET);
    fputs("two\n", stream);
    fclose(stream);
    fd = open("stream", O_RDONLY);
    stream = fdopen(fd, "r");
    while (fgets(line, sizeof line, stream)) say("line: %s", strtok(line, "\n"));
    say("position: %ld", ftell(stream));
    say("fseek: %d", fseek(stream, 4, SEEK_SET));
    say("after it: %s", fgets(line, sizeof line, stream) ? strtok(line, "\n") : "nothing");
    fclose(stream);

    /* A stream over a pipe cannot seek, and is not fully buffered away from its reader once flushed. */
    int ends[2];
    tell("pipe", pipe(ends));
    FILE *in = fdopen(ends[0], "r"), *out = fdopen(ends[1], "w");
    fputs("through a pipe\n", out);
    fflush(out);
    say("from the pipe: %s", fgets(line, sizeof line, in) ? strtok(line, "\n") : "nothing");
    tell("fseek in a pipe", fseek(in, 0, SEEK_SET));
    fclose(out);
    yes("end of the pipe", fgetc(in) == EOF && feof(in));
    fclose(in);

    stream = tmpfile();
    yes("tmpfile", stream != 0);
    if (stream) fclose(stream);
    return 0;
}
