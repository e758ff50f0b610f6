/* The first program of a cold start: asks for what a start will read, and becomes Python at once.
 *
 *     launcher PROGRAM [ARGUMENT...]
 *
 * An image's file system arrives chunk by chunk, and a start waits for one chunk after another. START_LIST names
 * a file that lists what a start reads (scripts/image/record_start.py writes it), in the order of first use. A
 * child process reads it in that order, a few chunks at a time: more would stand in the way of a chunk that
 * Python waits for and that is not here yet, and fewer would leave a fast source idle. It exits when all is here,
 * and this process does not wait for it. Its process id is handed over in START_READER, for Python to reap.
 *
 * Nothing is read ahead where init runs before anyone waits for it (provisioned concurrency, SnapStart, Managed
 * Instances). Whatever goes wrong here, PROGRAM is started.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIGNATURE "start-list-1"
#define SLICE (128 * 1024) /* of one call: the kernel bounds what a call asks for */
#define PART (512 * 1024)  /* of one reader's turn */
#define READERS 16
#define STACK (64 * 1024)
#define FILES 2048
#define PARTS 8192

static const char *files[FILES];
static atomic_int descriptors[FILES];
static struct { int file; long offset, end; } parts[PARTS];
static int file_count, part_count;
static atomic_int turn;

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
static void parse(char *text)
{
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (line == text)
            continue; /* the heading */
        if (*line == '/') {
            if (file_count < FILES) {
                descriptors[file_count] = -1;
                files[file_count++] = line;
            }
            continue;
        }
        char *rest;
        long file = strtol(line, &rest, 10), offset = strtol(rest, &rest, 10), end = offset + strtol(rest, &rest, 10);
        for (long next; file >= 0 && file < file_count && offset < end && part_count < PARTS; offset = next) {
            next = (offset / PART + 1) * PART;
            next = next < end ? next : end;
            parts[part_count].file = (int)file;
            parts[part_count].offset = offset;
            parts[part_count++].end = next;
        }
    }
}

static void *read_parts(void *unused)
{
    for (int mine; (mine = atomic_fetch_add(&turn, 1)) < part_count;) {
        int file = parts[mine].file, descriptor = descriptors[file];
        if (descriptor < 0)
            descriptors[file] = descriptor = open(files[file], O_RDONLY | O_CLOEXEC);
        if (descriptor < 0)
            continue;
        long end = parts[mine].end;
        for (long offset = parts[mine].offset; offset < end; offset += SLICE)
            posix_fadvise(descriptor, offset, end - offset < SLICE ? end - offset : SLICE, POSIX_FADV_WILLNEED);
        /* Waits until it is here. */
        char last;
        if (pread(descriptor, &last, 1, end - 1) < 0)
            continue;
    }
    return unused;
}

static void start_reading(const char *list)
{
    char *text = content(list);
    if (text == NULL || strncmp(text, SIGNATURE, strlen(SIGNATURE)) != 0)
        return;
    pid_t child = fork();
    if (child == 0) {
        pthread_t readers[READERS];
        pthread_attr_t small;
        int started = 0;
        parse(text);
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, STACK);
        while (started < READERS - 1 && pthread_create(&readers[started], &small, read_parts, NULL) == 0)
            started++;
        read_parts(NULL);
        while (started > 0)
            pthread_join(readers[--started], NULL);
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
