/* seal: one sealed command of the real key service, and the keys it takes to open it, as files. For tests that read it with other people's tools.
 *
 *   tool_seal DIRECTORY THING ID NAME EXPIRES [PRIVATE-KEY-FILE]
 *   tool_seal DIRECTORY --open     opens sealed.bin again with public.der and vehicle.key; says id and name
 *
 * Writes sealed.bin, public.der and vehicle.key there.
 */
#include "cloud/keys.h"
#include "vehicle/crypto.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "seal: %s: %s\n", what, why);
    exit(1);
}

static FILE *open_in(const char *directory, const char *name, const char *mode)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, mode);
    if (!file)
        give_up(path, "cannot be opened");
    return file;
}

static void put(const char *directory, const char *name, const uint8_t *bytes, size_t length)
{
    FILE *file = open_in(directory, name, "wb");
    if (fwrite(bytes, 1, length, file) != length || fclose(file))
        give_up(name, "cannot be written");
}

static size_t get(const char *directory, const char *name, uint8_t *out, size_t capacity)
{
    FILE *file = open_in(directory, name, "rb");
    size_t length = fread(out, 1, capacity, file);
    fclose(file);
    return length;
}

static int open_again(const char *directory)
{
    uint8_t public_key[128], vehicle_key[CLOUD_VEHICLE_KEY], sealed[CLOUD_SEALED_MAX + 1], out[64];
    char path[600], error[300];
    bool forged = false;
    snprintf(path, sizeof(path), "%s/public.der", directory);
    size_t public_length = tcu_crypto_read_public_key(path, public_key, sizeof(public_key), error, sizeof(error));
    if (!public_length)
        give_up("public key", error);
    snprintf(path, sizeof(path), "%s/vehicle.key", directory);
    if (!tcu_crypto_read_vehicle_key(path, vehicle_key, error, sizeof(error)))
        give_up("vehicle key", error);
    size_t sealed_length = get(directory, "sealed.bin", sealed, sizeof(sealed));
    size_t length = tcu_crypto_unseal(span_of(public_key, public_length), vehicle_key, span_of(sealed, sealed_length),
                                      out, sizeof(out), &forged);
    if (!length)
        give_up("sealed.bin", forged ? "forged" : "unreadable");
    uint64_t id = 0;
    for (int i = 0; i < 8; i++)
        id = id << 8 | out[i];
    printf("%" PRIu64 " %.*s\n", id, (int)(length - 8), (const char *)out + 8);
    return 0;
}

int main(int argc, char **argv)
{
    uint8_t master[32], out[256], key[TCU_KEY_MAX];
    char error[300] = "";
    size_t key_length = 0;
    if (argc == 3 && strcmp(argv[2], "--open") == 0)
        return open_again(argv[1]);
    if (argc < 6 || argc > 7) {
        fprintf(stderr, "usage: tool_seal DIRECTORY THING ID NAME EXPIRES [PRIVATE-KEY-FILE] | DIRECTORY --open\n");
        return 2;
    }
    if (argc == 7 && !(key_length = tcu_crypto_read_key(argv[6], key, sizeof(key), error, sizeof(error))))
        give_up("private key", error);
    memset(master, 0x5A, sizeof(master));
    struct cloud_keys *keys = cloud_keys_real(span_of(key, key_length), master, error, sizeof(error));
    if (!keys)
        give_up("keys", error);
    size_t length = cloud_keys_seal(keys, span_text(argv[2]), strtoull(argv[3], NULL, 10), span_text(argv[4]),
                                    (uint32_t)strtoul(argv[5], NULL, 10), out, sizeof(out));
    if (!length)
        give_up(argv[4], "cannot be sealed");
    put(argv[1], "sealed.bin", out, length);
    put(argv[1], "public.der", out, cloud_keys_public(keys, out, sizeof(out)));
    cloud_keys_vehicle(keys, span_text(argv[2]), out);
    put(argv[1], "vehicle.key", out, CLOUD_VEHICLE_KEY);
    cloud_keys_destroy(keys);
    return 0;
}
