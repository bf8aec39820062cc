/* Replays the fuzzer's corpus through its own target, without libFuzzer. */
#include <setjmp.h>
#include <stdarg.h>

#include "tests/fuzz/decode.c"

#include <cmocka.h>
#include <dirent.h>

#define FOLDER CONVOY_SOURCE_DIR "/tests/fuzz/corpus/decode"

static void replay(const char *path)
{
    uint8_t bytes[65536];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t length = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    uint8_t *exact = malloc(length ? length : 1);
    memcpy(exact, bytes, length);
    for (size_t cut = 0; cut <= length; cut++)
        LLVMFuzzerTestOneInput(exact, cut);
    for (size_t i = 0; i < length * 8; i++) { /* every bit turned over once */
        exact[i / 8] ^= (uint8_t)(1 << i % 8);
        LLVMFuzzerTestOneInput(exact, length);
        exact[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    free(exact);
}

static void test_corpus(void **state)
{
    int count = 0;
    struct dirent *entry;
    DIR *folder = opendir(FOLDER);
    assert_non_null(folder);
    while ((entry = readdir(folder))) {
        char path[512];
        if (*entry->d_name == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", FOLDER, entry->d_name);
        replay(path);
        count++;
    }
    closedir(folder);
    assert_true(count >= 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
