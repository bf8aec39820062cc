/* transport_web.c: WebSocket (RFC 6455) between MQTT and TCP or TLS: the upgrade, and frames in the checks' own hands.
 *
 * wslay knows how frames look; which ones are sent is the caller's. What comes is a stream of MQTT's bytes whatever the frames were, and beside it is
 * counted what they were. Pings are answered.
 */
#include "transport.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <wslay/wslay.h>

#define ANSWER_MAX     16384 /* of HTTP */
#define CLOSE_NORMAL   1000
#define CLOSE_PROTOCOL 1002
#define GOODBYE_US     (200 * US_PER_MS)

struct web {
    struct transport *transport;
    wslay_frame_context_ptr frames;
    struct web_seen seen;
    uint8_t *early; /* came behind the answer's headers */
    size_t early_at, early_length;
    ssize_t starved;      /* why the last frame is not there: a TRANSPORT_... */
    ssize_t over;         /* TRANSPORT_ENDED, TRANSPORT_RESET; 0: goes on */
    bool more;            /* the last read did not come to the end of what is there */
    bool close_sent;      /* nothing may follow */
    uint64_t frame_left;  /* of the frame that is coming */
    bool frame_begun;     /* its header has come */
    bool in_message;      /* a message goes on in the next data frame */
    const uint8_t *chunk; /* wslay's, until the next call */
    size_t chunk_length;
    uint8_t control[125];
    uint32_t control_length;
    char remark[160];
    bool remarked;
    int64_t until_us; /* of the write under way */
    size_t output_length;
    uint8_t output[65536];
};

/* ---- what wslay asks for --------------------------------------------------------------------------------------------------- */

static bool put_out(struct web *web)
{
    size_t length = web->output_length;
    web->output_length = 0;
    return length == 0 || transport_raw_write(web->transport, web->output, length, web->until_us);
}

static ssize_t take_bytes(const uint8_t *data, size_t length, int flags, void *context)
{
    struct web *web = context;
    if (web->output_length == sizeof(web->output) && !put_out(web))
        return -1;
    if (length > sizeof(web->output) - web->output_length)
        length = sizeof(web->output) - web->output_length;
    memcpy(web->output + web->output_length, data, length);
    web->output_length += length;
    return (ssize_t)length;
}

static ssize_t give_bytes(uint8_t *out, size_t length, int flags, void *context)
{
    struct web *web = context;
    size_t early = web->early_length - web->early_at;
    if (early) {
        if (length > early)
            length = early;
        memcpy(out, web->early + web->early_at, length);
        web->early_at += length;
        return (ssize_t)length;
    }
    web->starved = transport_raw_read(web->transport, out, length);
    return web->starved > 0 ? web->starved : -1;
}

static int make_mask(uint8_t *out, size_t length, void *context)
{
    return RAND_bytes(out, (int)length) == 1 ? 0 : -1;
}

/* ---- sending --------------------------------------------------------------------------------------------------------------- */

bool web_send(struct transport *transport, enum frame_kind kind, bool last, const uint8_t *data, size_t length,
              int64_t until_us)
{
    struct web *web = transport->web;
    struct wslay_frame_iocb frame = {
        .fin = last, .opcode = (uint8_t)kind, .mask = 1, .payload_length = length, .data = data, .data_length = length};
    if (web->close_sent)
        return false;
    web->until_us = until_us;
    web->close_sent = kind == FRAME_CLOSE;
    do {
        ssize_t sent = wslay_frame_send(web->frames, &frame);
        if (sent < 0)
            return false;
        frame.data += sent;
        frame.data_length -= (size_t)sent;
    } while (frame.data_length > 0);
    return put_out(web);
}

static void say_close(struct transport *transport, uint16_t code)
{
    uint8_t bytes[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    web_send(transport, FRAME_CLOSE, true, bytes, code ? 2 : 0, clock_now_us() + GOODBYE_US);
}

void web_say_goodbye(struct transport *transport)
{
    if (!transport->web->over)
        say_close(transport, CLOSE_NORMAL);
}

/* ---- receiving ------------------------------------------------------------------------------------------------------------- */

static void remark(struct web *web, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void remark(struct web *web, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(web->remark, sizeof(web->remark), format, arguments);
    va_end(arguments);
    web->remarked = true;
}

static void end_by_error(struct web *web, const char *what)
{
    remark(web, "WebSocket: %s", what);
    say_close(web->transport, CLOSE_PROTOCOL);
    web->over = TRANSPORT_ENDED;
}

static void control_came(struct web *web, uint8_t kind)
{
    const uint8_t *bytes = web->control;
    uint32_t length = web->control_length;
    struct web_seen *seen = &web->seen;
    if (kind == FRAME_PING) {
        seen->pings++;
        web_send(web->transport, FRAME_PONG, true, bytes, length, clock_now_us() + GOODBYE_US);
        remark(web, "WebSocket: a ping, answered");
    } else if (kind == FRAME_PONG) {
        seen->pongs++;
        seen->pong_length = length;
        memcpy(seen->pong, bytes, length);
        remark(web, "WebSocket: a pong of %u bytes", length);
    } else {
        seen->closed = true;
        seen->close_code = length >= 2 ? (uint16_t)(bytes[0] << 8 | bytes[1]) : 0;
        remark(web, "WebSocket: a close frame, code %u%s%.*s", seen->close_code, length > 2 ? " " : "",
               length > 2 ? (int)length - 2 : 0, length > 2 ? (const char *)bytes + 2 : "");
        say_close(web->transport, length >= 2 ? seen->close_code : 0);
        shutdown(web->transport->fd, SHUT_WR); /* some brokers wait for it */
        web->over = TRANSPORT_ENDED;
    }
}

/* The header of a frame. */
static void frame_came(struct web *web, const struct wslay_frame_iocb *frame)
{
    struct web_seen *seen = &web->seen;
    web->frame_begun = true;
    web->frame_left = frame->payload_length;
    web->control_length = 0;
    if (frame->rsv || frame->mask) {
        end_by_error(web, frame->mask ? "the broker masks its frames" : "a frame with reserved bits");
    } else if (frame->opcode == FRAME_CONTINUATION) {
        if (!web->in_message)
            end_by_error(web, "the broker continues a message that has not begun");
        web->in_message = !frame->fin;
    } else if (frame->opcode == FRAME_BINARY || frame->opcode == FRAME_TEXT) {
        if (web->in_message)
            end_by_error(web, "the broker begins a message within another");
        web->in_message = !frame->fin;
        *(frame->opcode == FRAME_TEXT ? &seen->text : &seen->binary) += 1;
        if (frame->opcode == FRAME_TEXT)
            remark(web, "WebSocket: a text frame of %llu bytes", (unsigned long long)frame->payload_length);
    } else if (!wslay_is_ctrl_frame(frame->opcode) || frame->opcode > FRAME_PONG) {
        seen->other++;
        end_by_error(web, "a frame of a kind that is none");
    }
}

/* The next piece of data, or why there is none: TRANSPORT_NOTHING and the others; 1: there is. */
static ssize_t next_chunk(struct web *web)
{
    struct wslay_frame_iocb frame = {0};
    while (!web->over) {
        web->starved = TRANSPORT_NOTHING;
        ssize_t got = wslay_frame_recv(web->frames, &frame);
        if (got == WSLAY_ERR_WANT_READ) {
            web->over = web->starved;
            break;
        }
        if (got < 0) {
            end_by_error(web, "a frame that is none");
            break;
        }
        if (!web->frame_begun)
            frame_came(web, &frame);
        if (web->over)
            break;
        web->frame_left -= frame.data_length;
        bool whole = web->frame_left == 0;
        web->frame_begun = !whole;
        if (!wslay_is_ctrl_frame(frame.opcode)) {
            web->chunk = frame.data;
            web->chunk_length = frame.data_length;
            if (frame.data_length)
                return 1;
        } else {
            memcpy(web->control + web->control_length, frame.data, frame.data_length);
            web->control_length += (uint32_t)frame.data_length;
            if (whole)
                control_came(web, frame.opcode);
        }
    }
    return web->over;
}

ssize_t web_read(struct transport *transport, uint8_t *out, size_t capacity)
{
    struct web *web = transport->web;
    size_t given = 0;
    while (given < capacity) {
        if (web->chunk_length == 0) {
            ssize_t why = next_chunk(web);
            if (why <= 0) {
                web->more = given > 0 && web->over; /* the end is told by the next call */
                return given ? (ssize_t)given : why;
            }
        }
        size_t length = web->chunk_length < capacity - given ? web->chunk_length : capacity - given;
        memcpy(out + given, web->chunk, length);
        web->chunk += length;
        web->chunk_length -= length;
        given += length;
    }
    web->more = true;
    return (ssize_t)given;
}

bool web_pending(const struct web *web)
{
    return web->more;
}

const struct web_seen *web_seen(const struct web *web)
{
    return &web->seen;
}

const char *web_remark(struct web *web)
{
    if (!web->remarked)
        return NULL;
    web->remarked = false;
    return web->remark;
}

/* ---- the upgrade ----------------------------------------------------------------------------------------------------------- */

static bool ask(struct transport *transport, const char *key, const char *protocols, int64_t until_us)
{
    const struct target *target = transport->target;
    bool six = strchr(target->host, ':') != NULL;
    bool usual = strcmp(target->port, transport->ssl ? "443" : "80") == 0;
    char request[4096];
    int length = snprintf(request, sizeof(request),
                          "GET %s HTTP/1.1\r\nHost: %s%s%s%s%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
                          target->path, six ? "[" : "", target->host, six ? "]" : "", usual ? "" : ":",
                          usual ? "" : target->port, key, protocols);
    return transport_raw_write(transport, (const uint8_t *)request, (size_t)length, until_us);
}

/* The answer up to its empty line; what came behind it is kept. NULL: none came. */
static char *hear(struct transport *transport, struct web *web, int64_t until_us)
{
    char *answer = malloc(ANSWER_MAX + 1), *end = NULL;
    size_t length = 0;
    while (answer && !end) {
        ssize_t got = transport_raw_read(transport, (uint8_t *)answer + length, ANSWER_MAX - length);
        length += got > 0 ? (size_t)got : 0;
        answer[length] = 0;
        end = strstr(answer, "\r\n\r\n");
        if (!end && (got < 0 || length == ANSWER_MAX || (got == 0 && !transport_await(transport, POLLIN, until_us)))) {
            if (length)
                return answer; /* a part of one */
            free(answer);
            return NULL;
        }
    }
    if (!answer)
        return NULL;
    web->early_length = length - (size_t)(end + 4 - answer);
    web->early = malloc(web->early_length + 1);
    if (web->early)
        memcpy(web->early, end + 4, web->early_length);
    else
        web->early_length = 0;
    web->more = web->early_length > 0;
    end[2] = 0;
    return answer;
}

/* The header's value, without blanks around it; "": there is none. */
static void header(const char *answer, const char *name, char *out, size_t capacity)
{
    size_t length = strlen(name);
    out[0] = 0;
    for (const char *line = strstr(answer, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, length) != 0 || line[length] != ':')
            continue;
        const char *value = line + length + 1;
        value += strspn(value, " \t");
        size_t size = strcspn(value, "\r\n");
        while (size && (value[size - 1] == ' ' || value[size - 1] == '\t'))
            size--;
        snprintf(out, capacity, "%.*s", (int)size, value);
        return;
    }
}

static void expected_accept(const char *key, char out[32])
{
    char text[80];
    unsigned char hash[SHA_DIGEST_LENGTH];
    snprintf(text, sizeof(text), "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    SHA1((const unsigned char *)text, strlen(text), hash);
    EVP_EncodeBlock((unsigned char *)out, hash, sizeof(hash));
}

static bool judge(struct web *web, const char *answer, const char *key, char *error, size_t capacity)
{
    const struct target *target = web->transport->target;
    char value[128], accept[32];
    int status = 0;
    if (sscanf(answer, "HTTP/1.%*1[01] %3d", &status) != 1 || status != 101)
        return transport_fail(error, capacity, "WebSocket with %s: the answer is \"%.*s\"", target->name,
                              (int)(strcspn(answer, "\r\n") < 80 ? strcspn(answer, "\r\n") : 80), answer);
    header(answer, "Sec-WebSocket-Accept", value, sizeof(value));
    expected_accept(key, accept);
    if (strcmp(value, accept) != 0)
        return transport_fail(error, capacity, "WebSocket with %s: Sec-WebSocket-Accept is not of our key",
                              target->name);
    header(answer, "Sec-WebSocket-Protocol", web->seen.protocol, sizeof(web->seen.protocol));
    return true;
}

bool web_open(struct transport *transport, const char *protocols, int64_t until_us, char *error, size_t capacity)
{
    static const struct wslay_frame_callbacks callbacks = {take_bytes, give_bytes, make_mask};
    struct web *web = transport->web = calloc(1, sizeof(*web));
    uint8_t nonce[16];
    char key[32];
    if (!web || wslay_frame_context_init(&web->frames, &callbacks, web) != 0 || RAND_bytes(nonce, sizeof(nonce)) != 1)
        return transport_fail(error, capacity, "WebSocket: out of memory");
    web->transport = transport;
    EVP_EncodeBlock((unsigned char *)key, nonce, sizeof(nonce));
    char *answer = ask(transport, key, protocols, until_us) ? hear(transport, web, until_us) : NULL;
    bool good = answer ? judge(web, answer, key, error, capacity)
                       : transport_fail(error, capacity, "WebSocket with %s: no answer", transport->target->name);
    free(answer);
    return good;
}

void web_free(struct web *web)
{
    if (!web)
        return;
    if (web->frames)
        wslay_frame_context_free(web->frames);
    free(web->early);
    free(web);
}
