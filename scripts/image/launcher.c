/* The first program of a cold start: asks for what a start will read, and becomes Python at once.
 *
 *     launcher PROGRAM [ARGUMENT...]
 *
 * An image's file system arrives chunk by chunk, and a start waits for one chunk after another. START_LIST names
 * a file that lists what a start reads (scripts/image/record_start.py writes it), in the order of first use. A
 * child process asks the kernel for all of it and exits; this process does not wait for it. Its process id is
 * handed over in START_READER, for Python to reap.
 *
 * Nothing is read ahead where init runs before anyone waits for it (provisioned concurrency, SnapStart, Managed
 * Instances). Whatever goes wrong here, PROGRAM is started.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIGNATURE "start-list-1"
#define SLICE (128 * 1024)
#define READERS 8
#define FILES 2048

static char *files[FILES];
static int descriptors[FILES];

static char *content(const char *path)
{
    struct stat st;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return NULL;
    char *text = fstat(descriptor, &st) == 0 ? malloc(st.st_size + 1) : NULL;
    if (text != NULL && read(descriptor, text, st.st_size) == st.st_size)
        text[st.st_size] = '\0';
    else
        text = NULL;
    close(descriptor);
    return text;
}

/* Lines: "path" lines begin with '/', and number themselves; "number offset length" lines are in order of use. */
static void read_ahead(char *text, int reader)
{
    int count = 0, turn = 0;
    memset(descriptors, -1, sizeof descriptors);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (line == text)
            continue; /* the heading */
        if (*line == '/') {
            if (count < FILES)
                files[count++] = line;
            continue;
        }
        char *rest;
        long file = strtol(line, &rest, 10), offset = strtol(rest, &rest, 10), length = strtol(rest, &rest, 10);
        if (turn++ % READERS != reader || file < 0 || file >= count)
            continue;
        if (descriptors[file] < 0)
            descriptors[file] = open(files[file], O_RDONLY | O_CLOEXEC);
        for (long end = offset + length; descriptors[file] >= 0 && offset < end; offset += SLICE)
            posix_fadvise(descriptors[file], offset, end - offset < SLICE ? end - offset : SLICE, POSIX_FADV_WILLNEED);
    }
}

static void start_reading(const char *list)
{
    char *text = content(list);
    if (text == NULL || strncmp(text, SIGNATURE, strlen(SIGNATURE)) != 0)
        return;
    pid_t child = fork();
    if (child == 0) {
        int reader = 1;
        while (reader < READERS && fork() != 0)
            reader++;
        read_ahead(text, reader % READERS);
        if (reader == READERS)
            while (wait(NULL) > 0)
                ;
        _exit(0);
    }
    if (child > 0) {
        char number[16];
        snprintf(number, sizeof number, "%d", (int)child);
        setenv("START_READER", number, 1);
    }
}

int main(int count, char **arguments)
{
    const char *list = getenv("START_LIST"), *kind = getenv("AWS_LAMBDA_INITIALIZATION_TYPE");
    if (count < 2)
        return 2;
    if (list != NULL && *list != '\0' && (kind == NULL || strcmp(kind, "on-demand") == 0))
        start_reading(list);
    execv(arguments[1], arguments + 1);
    perror(arguments[1]);
    return 127;
}
