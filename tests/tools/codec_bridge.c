/* codec_bridge.c: our codec as a filter for the comparison with another one (tests/oracle/compare.mjs).
 *
 *   codec_bridge random FIRST COUNT   for each seed: version sender hex json, of the packet asked to be encoded
 *   codec_bridge decode               lines "version sender hex" in; "ok json" or "error status reason ref" out
 */
#include "../oracle/packet_json.h"
#include "../oracle/random_packet.h"

#include <ctype.h>

static int random_lines(uint64_t first, uint64_t count)
{
    static struct random_packet r;
    static uint8_t out[1 << 18];
    struct json json = {0};
    for (uint64_t seed = first; seed < first + count; seed++) {
        size_t written;
        random_packet(&r, seed);
        if (mq5_encode(r.version, &r.packet, out, sizeof(out), &written) != MQ5_OK) {
            fprintf(stderr, "codec_bridge: the packet of seed %llu cannot be encoded\n", (unsigned long long)seed);
            return 1;
        }
        json.length = 0;
        json_packet(&json, r.version, &r.packet);
        printf("%d %d ", r.version, r.sender);
        for (size_t i = 0; i < written; i++)
            printf("%02x", out[i]);
        printf(" %s\n", json.text);
    }
    free(json.text);
    return 0;
}

static size_t unhex(const char *text, uint8_t *out, size_t capacity)
{
    size_t length = 0;
    for (; isxdigit((unsigned char)text[0]) && isxdigit((unsigned char)text[1]) && length < capacity; text += 2) {
        char digits[3] = {text[0], text[1], 0};
        out[length++] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return length;
}

static int decode_lines(void)
{
    static char line[1 << 20];
    static uint8_t bytes[1 << 19];
    struct json json = {0};
    while (fgets(line, sizeof(line), stdin)) {
        struct mq5_packet packet;
        struct mq5_error error;
        int version, sender, hex = 0;
        if (sscanf(line, "%d %d %n", &version, &sender, &hex) != 2 || !hex) {
            fprintf(stderr, "codec_bridge: cannot read line: %s", line);
            return 1;
        }
        size_t length = unhex(line + hex, bytes, sizeof(bytes));
        if (mq5_decode((enum mq5_version)version, (enum mq5_sender)sender, bytes, length, &packet, &error) == MQ5_OK) {
            json.length = 0;
            json_packet(&json, (enum mq5_version)version, &packet);
            printf("ok %s\n", json.text);
        } else {
            printf("error %d 0x%02x %s: %s\n", error.status, error.reason, error.ref, error.what);
        }
    }
    free(json.text);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "random") == 0)
        return random_lines(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
    if (argc == 2 && strcmp(argv[1], "decode") == 0)
        return decode_lines();
    fprintf(stderr, "usage: codec_bridge random FIRST COUNT | codec_bridge decode\n");
    return 2;
}
