/* A file that arrives chunk by chunk: the first read of each chunk waits, as for a chunk of a Lambda image.
 *
 *     lazy_disk BACKING MOUNTPOINT DELAY_US AT_ONCE
 *
 * MOUNTPOINT/image has the content of BACKING. A chunk (512 KiB) that is read for the first time takes
 * DELAY_US microseconds, and at most AT_ONCE chunks are waited for at the same time; later reads of it take
 * no time. MOUNTPOINT/touched lists the chunks in the order of their first read, one on each line: its number,
 * microseconds from the mount to the first read, the file offset of that read, and the bytes that were read
 * of the chunk until now. Stays in the foreground; ends with its parent, and when it is unmounted.
 */
#define FUSE_USE_VERSION 314
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (512 * 1024)
#define THREADS 256
enum { UNTOUCHED, ON_ITS_WAY, HERE };

static int backing;
static off_t size;
static useconds_t delay;
static sem_t at_once;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static unsigned char *state;
static struct { uint32_t chunk; uint64_t us, offset; } *touched;
static uint64_t *bytes_read;
static size_t touches;
static uint64_t began;

static uint64_t microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void wait_for(size_t chunk, off_t offset, size_t length)
{
    pthread_mutex_lock(&lock);
    bytes_read[chunk] += length;
    if (state[chunk] == UNTOUCHED) {
        state[chunk] = ON_ITS_WAY;
        touched[touches].chunk = chunk;
        touched[touches].offset = offset;
        touched[touches++].us = microseconds() - began;
        pthread_mutex_unlock(&lock);
        if (delay > 0) {
            sem_wait(&at_once);
            usleep(delay);
            sem_post(&at_once);
        }
        pthread_mutex_lock(&lock);
        state[chunk] = HERE;
        pthread_cond_broadcast(&arrived);
    }
    while (state[chunk] != HERE)
        pthread_cond_wait(&arrived, &lock);
    pthread_mutex_unlock(&lock);
}

static int get_attributes(const char *path, struct stat *st, struct fuse_file_info *info)
{
    (void)info;
    memset(st, 0, sizeof *st);
    if (strcmp(path, "/") == 0) {
        st->st_mode = S_IFDIR | 0755;
        st->st_nlink = 2;
        return 0;
    }
    st->st_mode = S_IFREG | 0444;
    st->st_nlink = 1;
    if (strcmp(path, "/image") == 0)
        st->st_size = size;
    else if (strcmp(path, "/touched") == 0)
        st->st_size = 0;
    else
        return -ENOENT;
    return 0;
}

static int open_file(const char *path, struct fuse_file_info *info)
{
    if (strcmp(path, "/image") != 0 && strcmp(path, "/touched") != 0)
        return -ENOENT;
    if ((info->flags & O_ACCMODE) != O_RDONLY)
        return -EROFS;
    info->direct_io = 1; /* this kernel's page cache holds nothing of the image but what its file system reads */
    return 0;
}

static int read_touched(char *buffer, size_t length, off_t offset)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&text, &bytes);
    if (stream == NULL)
        return -ENOMEM;
    pthread_mutex_lock(&lock);
    for (size_t index = 0; index < touches; index++)
        fprintf(stream, "%u %llu %llu %llu\n", touched[index].chunk, (unsigned long long)touched[index].us,
                (unsigned long long)touched[index].offset,
                (unsigned long long)bytes_read[touched[index].chunk]);
    pthread_mutex_unlock(&lock);
    fclose(stream);
    size_t count = (size_t)offset >= bytes ? 0 : bytes - offset;
    count = count > length ? length : count;
    memcpy(buffer, text + offset * (count > 0), count);
    free(text);
    return (int)count;
}

static int read_file(const char *path, char *buffer, size_t length, off_t offset, struct fuse_file_info *info)
{
    (void)info;
    if (strcmp(path, "/touched") == 0)
        return read_touched(buffer, length, offset);
    if (offset >= size)
        return 0;
    if (offset + (off_t)length > size)
        length = size - offset;
    for (off_t from = offset, end = offset + (off_t)length; from < end;) {
        off_t until = (from / CHUNK + 1) * CHUNK;
        until = until > end ? end : until;
        wait_for(from / CHUNK, from, until - from);
        from = until;
    }
    ssize_t count = pread(backing, buffer, length, offset);
    return count < 0 ? -errno : (int)count;
}

static int read_directory(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
                          struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    (void)path, (void)offset, (void)info, (void)flags;
    fill(buffer, "image", NULL, 0, 0);
    fill(buffer, "touched", NULL, 0, 0);
    return 0;
}

static void *start(struct fuse_conn_info *connection, struct fuse_config *config)
{
    config->kernel_cache = 0;
    connection->max_background = THREADS;
    connection->congestion_threshold = THREADS;
    began = microseconds();
    return NULL;
}

static const struct fuse_operations operations = {
    .getattr = get_attributes, .open = open_file, .read = read_file, .readdir = read_directory, .init = start,
};

int main(int count, char **arguments)
{
    struct stat st;
    if (count != 5) {
        fprintf(stderr, "usage: %s BACKING MOUNTPOINT DELAY_US AT_ONCE\n", arguments[0]);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    backing = open(arguments[1], O_RDONLY);
    if (backing < 0 || fstat(backing, &st) < 0) {
        perror(arguments[1]);
        return 1;
    }
    size = st.st_size;
    delay = (useconds_t)atol(arguments[3]);
    if (sem_init(&at_once, 0, (unsigned)atol(arguments[4])) < 0 || atol(arguments[4]) < 1) {
        fprintf(stderr, "AT_ONCE has to be 1 or more\n");
        return 2;
    }
    size_t chunks = (size + CHUNK - 1) / CHUNK;
    state = calloc(chunks, 1);
    touched = calloc(chunks, sizeof *touched);
    bytes_read = calloc(chunks, sizeof *bytes_read);
    if (state == NULL || touched == NULL || bytes_read == NULL) {
        fprintf(stderr, "out of memory\n");
        return 1;
    }
    char *fuse_arguments[] = {arguments[0], "-oro,allow_other,fsname=lazy_disk", NULL};
    struct fuse_args args = FUSE_ARGS_INIT(2, fuse_arguments);
    struct fuse *fuse = fuse_new(&args, &operations, sizeof operations, NULL);
    if (fuse == NULL || fuse_mount(fuse, arguments[2]) != 0)
        return 1;
    if (fuse_set_signal_handlers(fuse_get_session(fuse)) != 0)
        return 1;
    struct fuse_loop_config *loop = fuse_loop_cfg_create();
    fuse_loop_cfg_set_clone_fd(loop, 0);
    fuse_loop_cfg_set_max_threads(loop, THREADS);
    fuse_loop_cfg_set_idle_threads(loop, THREADS);
    int status = fuse_loop_mt(fuse, loop);
    fuse_unmount(fuse);
    return status == 0 ? 0 : 1;
}
