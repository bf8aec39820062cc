/* web.c: WebSocket (RFC 6455) at MQTT's door: the upgrade of HTTP, then frames, which wslay reads and writes: it answers pings and ends what breaks
 * the rules. Only binary frames carry MQTT; where a packet begins has nothing to do with where a frame does. */
#include "serve_internal.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <wslay/wslay.h>

#define REQUEST_MAX      8192
#define UNSUPPORTED_DATA 1003

struct web_link {
    struct web_link_owner owner;
    wslay_event_context_ptr events; /* NULL: not upgraded yet */
    char *request;                  /* as far as it has come */
    size_t request_length;
    const uint8_t *fed; /* what the socket gave */
    size_t fed_length;
    bool control; /* the frame that is coming */
    bool text;    /* a data frame that is not MQTT's has come */
};

/* ---- the upgrade ---------------------------------------------------------------------------------------------------- */

/* The header's values, all in one line; "": there is none. */
static void header(const char *request, const char *name, char *out, size_t capacity)
{
    size_t length = strlen(name), used = 0;
    out[0] = 0;
    for (const char *line = strstr(request, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, length) != 0 || line[length] != ':')
            continue;
        const char *value = line + length + 1 + strspn(line + length + 1, " \t");
        size_t size = strcspn(value, "\r\n");
        if (used + size + 2 < capacity)
            used += (size_t)snprintf(out + used, capacity - used, "%s%.*s", used ? "," : "", (int)size, value);
    }
}

/* One of a list with commas. */
static bool lists(const char *list, const char *word, bool any_case)
{
    size_t length = strlen(word);
    for (const char *at = list; *at;) {
        at += strspn(at, ", \t");
        size_t size = strcspn(at, ", \t");
        if (size == length && (any_case ? strncasecmp : strncmp)(at, word, length) == 0)
            return true;
        at += size;
    }
    return false;
}

/* A path of ours: what stands behind a '?' is somebody else's affair. */
static bool is_path(const char *request)
{
    const char *path = request + 4;
    size_t length = strcspn(path, " ?\r");
    return (length == 5 && memcmp(path, "/mqtt", 5) == 0) || (length == 1 && path[0] == '/');
}

static bool is_http(const char *request)
{
    const char *end = strstr(request, "\r\n"), *version = end;
    while (version > request && version[-1] != ' ')
        version--;
    return strncmp(request, "GET /", 5) == 0 && end - version == 8 && memcmp(version, "HTTP/1.1", 8) == 0;
}

static void say(const struct web_link *web, const char *text)
{
    web->owner.write(web->owner.link, (const uint8_t *)text, strlen(text));
}

static bool refuse(const struct web_link *web, const char *status, const char *headers, const char *why)
{
    char text[400];
    snprintf(text, sizeof(text),
             "HTTP/1.1 %s\r\n%sConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s\n",
             status, headers, strlen(why) + 1, why);
    say(web, text);
    return false;
}

static bool judge(const struct web_link *web, char key[64])
{
    const char *request = web->request;
    char value[256];
    uint8_t nonce[20];
    if (!is_http(request))
        return refuse(web, "400 Bad Request", "", "this door takes WebSocket: GET with HTTP/1.1");
    if (!is_path(request))
        return refuse(web, "404 Not Found", "", "MQTT is at /mqtt");
    header(request, "Upgrade", value, sizeof(value));
    bool upgrade = lists(value, "websocket", true);
    header(request, "Connection", value, sizeof(value));
    if (!upgrade || !lists(value, "upgrade", true))
        return refuse(web, "426 Upgrade Required", "Upgrade: websocket\r\n", "this door takes WebSocket");
    header(request, "Sec-WebSocket-Version", value, sizeof(value));
    if (strcmp(value, "13") != 0)
        return refuse(web, "426 Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                      "WebSocket's version is 13");
    header(request, "Sec-WebSocket-Protocol", value, sizeof(value));
    if (!lists(value, "mqtt", false))
        return refuse(web, "400 Bad Request", "", "the subprotocol is mqtt");
    header(request, "Sec-WebSocket-Key", key, 64);
    if (strlen(key) != 24 || EVP_DecodeBlock(nonce, (const unsigned char *)key, 24) != 18)
        return refuse(web, "400 Bad Request", "", "Sec-WebSocket-Key is not 16 bytes in base64");
    return true;
}

static void accept_key(const char *key, char out[32])
{
    char text[128];
    unsigned char hash[SHA_DIGEST_LENGTH];
    snprintf(text, sizeof(text), "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    SHA1((const unsigned char *)text, strlen(text), hash);
    EVP_EncodeBlock((unsigned char *)out, hash, sizeof(hash));
}

/* ---- what wslay asks for, and tells ------------------------------------------------------------------------------------ */

static ssize_t give_bytes(wslay_event_context_ptr events, uint8_t *out, size_t length, int flags, void *context)
{
    struct web_link *web = context;
    if (web->fed_length == 0) {
        wslay_event_set_error(events, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (length > web->fed_length)
        length = web->fed_length;
    memcpy(out, web->fed, length);
    web->fed += length;
    web->fed_length -= length;
    return (ssize_t)length;
}

static ssize_t take_bytes(wslay_event_context_ptr events, const uint8_t *data, size_t length, int flags, void *context)
{
    struct web_link *web = context;
    web->owner.write(web->owner.link, data, length);
    return (ssize_t)length;
}

static void frame_begins(wslay_event_context_ptr events, const struct wslay_event_on_frame_recv_start_arg *frame,
                         void *context)
{
    struct web_link *web = context;
    web->control = wslay_is_ctrl_frame(frame->opcode);
    if (frame->opcode == WSLAY_TEXT_FRAME)
        web->text = true;
}

static void piece_came(wslay_event_context_ptr events, const struct wslay_event_on_frame_recv_chunk_arg *piece,
                       void *context)
{
    struct web_link *web = context;
    if (!web->control && !web->text && piece->data_length)
        web->owner.data(web->owner.link, piece->data, piece->data_length);
}

static bool start_frames(struct web_link *web)
{
    static const struct wslay_event_callbacks callbacks = {.recv_callback = give_bytes,
                                                           .send_callback = take_bytes,
                                                           .on_frame_recv_start_callback = frame_begins,
                                                           .on_frame_recv_chunk_callback = piece_came};
    if (wslay_event_context_server_init(&web->events, &callbacks, web) != 0)
        return false;
    wslay_event_config_set_no_buffering(web->events, 1);
    return true;
}

static bool upgrade(struct web_link *web)
{
    char key[64], accepted[32], answer[256];
    if (!judge(web, key))
        return false;
    accept_key(key, accepted);
    snprintf(answer, sizeof(answer),
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
             accepted);
    say(web, answer);
    return start_frames(web) && web->owner.opened(web->owner.link);
}

/* ---- for the door -------------------------------------------------------------------------------------------------------- */

struct web_link *web_link_create(const struct web_link_owner *owner)
{
    struct web_link *web = calloc(1, sizeof(*web));
    if (!web)
        return NULL;
    web->owner = *owner;
    web->request = malloc(REQUEST_MAX + 1);
    if (web->request)
        return web;
    free(web);
    return NULL;
}

void web_link_destroy(struct web_link *web)
{
    if (!web)
        return;
    if (web->events)
        wslay_event_context_free(web->events);
    free(web->request);
    free(web);
}

static bool frames_come(struct web_link *web)
{
    bool good = wslay_event_recv(web->events) == 0;
    if (web->text)
        wslay_event_queue_close(web->events, UNSUPPORTED_DATA, NULL, 0);
    wslay_event_send(web->events); /* what wslay answers by itself */
    return good && !web->text && wslay_event_get_read_enabled(web->events) &&
           !wslay_event_get_close_received(web->events);
}

/* Whatever stands behind the request's empty line is the first of the frames. */
static bool request_comes(struct web_link *web, const uint8_t *data, size_t length)
{
    size_t before = web->request_length, room = REQUEST_MAX - before;
    size_t taken = length < room ? length : room;
    memcpy(web->request + before, data, taken);
    web->request_length += taken;
    web->request[web->request_length] = 0;
    const char *end = strstr(web->request, "\r\n\r\n");
    if (!end)
        return web->request_length < REQUEST_MAX ||
               refuse(web, "431 Request Header Fields Too Large", "", "the request is too long");
    size_t used = (size_t)(end + 4 - web->request) - before;
    bool good = upgrade(web);
    free(web->request);
    web->request = NULL;
    web->fed = data + used;
    web->fed_length = length - used;
    return good && frames_come(web);
}

bool web_link_input(struct web_link *web, const uint8_t *data, size_t length)
{
    if (!web->events)
        return web->request && request_comes(web, data, length);
    web->fed = data;
    web->fed_length = length;
    return frames_come(web);
}

void web_link_send(struct web_link *web, const uint8_t *data, size_t length)
{
    const struct wslay_event_msg message = {WSLAY_BINARY_FRAME, data, length};
    if (wslay_event_queue_msg(web->events, &message) == 0)
        wslay_event_send(web->events);
}

void web_link_close(struct web_link *web)
{
    if (web->events && wslay_event_queue_close(web->events, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0) == 0)
        wslay_event_send(web->events);
}
