/* capture.c: every byte to and from the broker as a pcapng file (draft-ietf-opsawg-pcapng), with made-up IP and TCP headers around it, so that
 * Wireshark follows and dissects the connections. What was inside TLS or WebSocket stands in it without them.
 *
 * Connection n is 10.x.y.z:port -> 10.255.255.254:1883. Headers carry true sequence numbers and no checksums.
 */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LINKTYPE_RAW   101
#define SEGMENT_MAX    65000u
#define CONNECTIONS    65536u
#define BROKER_ADDRESS 0x0AFFFFFEu
#define BROKER_PORT    1883

struct capture {
    FILE *file;
    pthread_mutex_t lock;
    int64_t wall_offset_us; /* of the monotonic clock */
    uint32_t *sequence[2];  /* by connection: bytes so far, ours and the broker's */
    bool failed;
};

static void put(struct capture *capture, const void *data, size_t length)
{
    if (length && fwrite(data, 1, length, capture->file) != length)
        capture->failed = true;
}

static void put_32(struct capture *capture, uint32_t value)
{
    put(capture, &value, 4);
}

struct capture *capture_open(const char *path, const struct target *target, char *error, size_t error_capacity)
{
    struct capture *capture = calloc(1, sizeof(*capture));
    struct timespec wall;
    if (capture) {
        capture->file = fopen(path, "wb");
        capture->sequence[0] = calloc(CONNECTIONS, sizeof(uint32_t));
        capture->sequence[1] = calloc(CONNECTIONS, sizeof(uint32_t));
    }
    if (!capture || !capture->file || !capture->sequence[0] || !capture->sequence[1]) {
        snprintf(error, error_capacity, "%s: %s", path, strerror(errno));
        capture_close(capture);
        return NULL;
    }
    pthread_mutex_init(&capture->lock, NULL);
    clock_gettime(CLOCK_REALTIME, &wall);
    capture->wall_offset_us = wall.tv_sec * US_PER_S + wall.tv_nsec / 1000 - clock_now_us();
    const uint32_t section[] = {0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0xFFFFFFFF, 0xFFFFFFFF, 28};
    const uint32_t interface[] = {1, 20, LINKTYPE_RAW, 0, 20};
    put(capture, section, sizeof(section));
    put(capture, interface, sizeof(interface));
    return capture;
}

static void big_16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void big_32(uint8_t *at, uint32_t value)
{
    big_16(at, value >> 16);
    big_16(at + 2, value);
}

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_PSH = 8, TCP_ACK = 16 };

static void segment(struct capture *capture, uint32_t connection, bool outbound, int64_t at_us, uint8_t flags,
                    const uint8_t *data, uint32_t length)
{
    uint8_t header[40] = {0x45};
    uint32_t *sequence = capture->sequence[outbound ? 0 : 1], *other = capture->sequence[outbound ? 1 : 0];
    uint32_t client = 0x0A000001u + connection / 30000, port = 20000 + connection % 30000;
    big_16(header + 2, 40 + length);
    header[8] = 64;
    header[9] = 6;
    big_32(header + 12, outbound ? client : BROKER_ADDRESS);
    big_32(header + 16, outbound ? BROKER_ADDRESS : client);
    big_16(header + 20, outbound ? port : BROKER_PORT);
    big_16(header + 22, outbound ? BROKER_PORT : port);
    big_32(header + 24, sequence[connection]);
    big_32(header + 28, flags & TCP_ACK ? other[connection] : 0);
    header[32] = 5 << 4;
    header[33] = flags;
    big_16(header + 34, 65535);
    sequence[connection] += length + (flags & (TCP_SYN | TCP_FIN) ? 1 : 0);
    uint32_t captured = 40 + length, padded = (captured + 3) & ~3u;
    uint64_t stamp = (uint64_t)(at_us + capture->wall_offset_us);
    put_32(capture, 6);
    put_32(capture, 32 + padded);
    put_32(capture, 0);
    put_32(capture, (uint32_t)(stamp >> 32));
    put_32(capture, (uint32_t)stamp);
    put_32(capture, captured);
    put_32(capture, captured);
    put(capture, header, 40);
    put(capture, data, length);
    put(capture, "\0\0\0", padded - captured);
    put_32(capture, 32 + padded);
}

static void begin(struct capture *capture, uint32_t connection, int64_t at_us)
{
    if (capture->sequence[0][connection])
        return;
    segment(capture, connection, true, at_us, TCP_SYN, NULL, 0);
    segment(capture, connection, false, at_us, TCP_SYN | TCP_ACK, NULL, 0);
    segment(capture, connection, true, at_us, TCP_ACK, NULL, 0);
}

void capture_bytes(struct capture *capture, uint32_t connection, bool outbound, int64_t at_us, struct span bytes)
{
    if (connection >= CONNECTIONS)
        return;
    pthread_mutex_lock(&capture->lock);
    begin(capture, connection, at_us);
    for (uint32_t at = 0; at < bytes.length; at += SEGMENT_MAX)
        segment(capture, connection, outbound, at_us, TCP_PSH | TCP_ACK, bytes.data + at,
                bytes.length - at < SEGMENT_MAX ? bytes.length - at : SEGMENT_MAX);
    pthread_mutex_unlock(&capture->lock);
}

void capture_ends(struct capture *capture, uint32_t connection, bool outbound, int64_t at_us, bool reset)
{
    if (connection >= CONNECTIONS)
        return;
    pthread_mutex_lock(&capture->lock);
    begin(capture, connection, at_us);
    segment(capture, connection, outbound, at_us, reset ? TCP_RST : TCP_FIN | TCP_ACK, NULL, 0);
    pthread_mutex_unlock(&capture->lock);
}

bool capture_close(struct capture *capture)
{
    if (!capture)
        return true;
    bool whole = !capture->failed && capture->file;
    if (capture->file && fclose(capture->file) != 0)
        whole = false;
    free(capture->sequence[0]);
    free(capture->sequence[1]);
    free(capture);
    return whole;
}
