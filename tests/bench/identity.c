/* Identity store: BENCH_IDENTITIES real P-256 identities (100,000) made by all processors, then the store opened again and all of them read.
 * The folder is BENCH_IDENTITY_DIRECTORY (kept) or a scratch folder (removed). One object of JSON. */
#define _GNU_SOURCE
#include "cloud/identity_store.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void give_up(const char *what)
{
    fprintf(stderr, "bench identity: %s\n", what);
    exit(3);
}

static void remove_folder(const char *folder)
{
    char path[1024];
    DIR *list = opendir(folder);
    for (struct dirent *entry; list && (entry = readdir(list));) {
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    if (list)
        closedir(list);
    rmdir(folder);
}

/* Returns how many were made. */
static uint64_t go(const char *folder, uint64_t count, double *seconds, double *read_seconds)
{
    char error[256] = "";
    uint8_t certificate[1024], key[256];
    uint64_t made = 0;
    int64_t now_s = time(NULL);
    struct cloud_identity_profile profile = {
        .ca = CLOUD_CA_OPERATIONAL, .names = "bench-%", .first_number = 1, .lifetime_s = INT64_C(365) * 86400};
    struct cloud_pki *pki = cloud_pki_open(folder, true, error, sizeof(error));
    double begin = now();
    struct cloud_identity_store *store =
        pki ? cloud_identity_store_open(folder, pki, &profile, error, sizeof(error)) : NULL;
    if (!store || !cloud_identity_store_ensure(store, count, now_s - 60, now_s + 86400, 0, &made, error, sizeof(error)))
        give_up(error);
    *seconds = now() - begin;
    begin = now();
    for (uint64_t i = 0; i < count; i++) {
        size_t certificate_length = sizeof(certificate), key_length = sizeof(key);
        if (!cloud_identity_store_get(store, i, certificate, &certificate_length, key, &key_length))
            give_up("an identity cannot be read");
    }
    *read_seconds = now() - begin;
    const char *why = "";
    size_t length = sizeof(certificate);
    if (!cloud_identity_store_get(store, count - 1, certificate, &length, NULL, NULL) ||
        !cloud_pki_verify(pki, span_of(certificate, length), CLOUD_CA_OPERATIONAL, now_s, &why))
        give_up(why);
    cloud_identity_store_close(store);
    cloud_pki_close(pki);
    return made;
}

int main(void)
{
    const char *number = getenv("BENCH_IDENTITIES"), *kept = getenv("BENCH_IDENTITY_DIRECTORY");
    char scratch[] = "/tmp/convoy-bench-identity-XXXXXX";
    uint64_t count = number ? strtoull(number, NULL, 10) : 100000;
    double first_s, again_s, read_s;
    const char *folder = kept ? kept : mkdtemp(scratch);
    if (!folder || count == 0)
        give_up("no scratch folder, or nothing to make");
    uint64_t made = go(folder, count, &first_s, &read_s), made_again = go(folder, count, &again_s, &read_s);
    if (!kept)
        remove_folder(folder);
    printf("{\n  \"bench\": \"identity\",\n  \"identities\": %llu,\n  \"processors\": %ld,\n"
           "  \"made\": %llu,\n  \"first_s\": %.2f,\n  \"identities_s\": %.0f,\n"
           "  \"made_again\": %llu,\n  \"again_s\": %.4f,\n  \"read_identities_s\": %.0f\n}\n",
           (unsigned long long)count, sysconf(_SC_NPROCESSORS_ONLN), (unsigned long long)made, first_s,
           made ? (double)made / first_s : 0.0, (unsigned long long)made_again, again_s, (double)count / read_s);
    return made_again == 0 ? 0 : 1;
}
