/* fuzz_replay.c: runs a fuzz target over its kept corpus without libFuzzer, so that every build replays it.
 *
 * Each file is given whole, then cut short at every length up to CUTS_MAXIMUM: each input lies in its own exact block, so that
 * the address sanitizer sees one byte too far. An empty corpus is a failure, not a pass.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CUTS_MAXIMUM 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void give(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (exact == NULL)
        abort();
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static void give_all_cuts(const uint8_t *data, size_t size)
{
    give(data, size);
    for (size_t cut = 0; cut < size && cut < CUTS_MAXIMUM; cut++)
        give(data, cut);
}

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    size_t capacity = 1 << 16, used = 0, got;
    uint8_t *bytes = malloc(capacity);
    while (bytes != NULL && (got = fread(bytes + used, 1, capacity - used, file)) > 0) {
        used += got;
        if (used == capacity)
            bytes = realloc(bytes, capacity *= 2);
    }
    fclose(file);
    *size = used;
    return bytes;
}

static int replay_folder(const char *folder)
{
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        fprintf(stderr, "fuzz_replay: cannot open %s\n", folder);
        return -1;
    }
    int count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        size_t size = 0;
        uint8_t *bytes = read_file(path, &size);
        if (bytes == NULL) {
            fprintf(stderr, "fuzz_replay: cannot read %s\n", path);
            closedir(directory);
            return -1;
        }
        give_all_cuts(bytes, size);
        free(bytes);
        count++;
    }
    closedir(directory);
    return count;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
        return 2;
    }
    int count = replay_folder(argv[1]);
    if (count <= 0) {
        fprintf(stderr, "fuzz_replay: nothing replayed from %s\n", argv[1]);
        return 1;
    }
    printf("%d inputs replayed from %s\n", count, argv[1]);
    return 0;
}
