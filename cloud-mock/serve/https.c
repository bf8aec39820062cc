/* https.c: libevent's HTTP server, in a thread of its own, as enrolment (signatures) must not hold up MQTT: over TLS for the certificate broker, operators,
 * conversions, CRL and OCSP;
 * in clear, where it is asked for, for CRL and OCSP only (they are signed, and whoever checks a certificate has no TLS yet). */
#include "serve_internal.h"

#include "cloud/pki_store.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <event2/thread.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BODY_MAX   65536
#define ANSWER_MAX 16384
#define TIMEOUT_S  30

struct https_door {
    struct event_base *base;
    struct evhttp *secure, *clear; /* NULL: not offered */
    struct event *stop;
    SSL_CTX *context;
    struct cloud_certificate_broker *broker;
    struct https_desk desk;
    pthread_t thread;
    int stop_fd;
};

static struct bufferevent *new_connection(struct event_base *base, void *context)
{
    SSL *ssl = SSL_new(((struct https_door *)context)->context);
    struct bufferevent *connection =
        ssl ? bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE) : NULL;
    if (!connection)
        SSL_free(ssl);
    else
        bufferevent_openssl_set_allow_dirty_shutdown(connection, 1);
    return connection;
}

static const char *method_name(enum evhttp_cmd_type type)
{
    switch (type) {
    case EVHTTP_REQ_GET: return "GET";
    case EVHTTP_REQ_POST: return "POST";
    case EVHTTP_REQ_HEAD: return "HEAD";
    case EVHTTP_REQ_PUT: return "PUT";
    case EVHTTP_REQ_DELETE: return "DELETE";
    default: return "OTHER";
    }
}

static void answer(struct evhttp_request *request, const struct cloud_http_reply *reply, const void *body)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {{200, "OK"},           {201, "Created"},          {204, "No Content"}, {400, "Bad Request"},
                   {401, "Unauthorized"}, {403, "Forbidden"},        {404, "Not Found"},  {405, "Method Not Allowed"},
                   {409, "Conflict"},     {429, "Too Many Requests"}};
    const char *phrase = "Internal Server Error";
    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
        if (phrases[i].status == reply->status)
            phrase = phrases[i].phrase;
    if (reply->content_type)
        evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", reply->content_type);
    struct evbuffer *out = evbuffer_new();
    if (out)
        evbuffer_add(out, body, reply->body_length);
    evhttp_send_reply(request, reply->status, phrase, out);
    if (out)
        evbuffer_free(out);
}

static const char *path_of(struct evhttp_request *request)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    return path ? path : "/";
}

static struct span body_of(struct evhttp_request *request)
{
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    size_t length = evbuffer_get_length(body);
    return span_of(length ? evbuffer_pullup(body, -1) : NULL, length);
}

/* ---- the certificate broker ------------------------------------------------------------------------------------------ */

static SSL *ssl_of(struct evhttp_request *request)
{
    return bufferevent_openssl_get_ssl(evhttp_connection_get_bufferevent(evhttp_request_get_connection(request)));
}

static void enrol(struct https_door *door, struct evhttp_request *request, const char *path)
{
    struct cloud_peer peer = {.tls = true};
    uint8_t *der = NULL, body[ANSWER_MAX];
    SSL *ssl = ssl_of(request);
    if (ssl)
        serve_tls_peer(ssl, door->broker->pki, &peer, &der, NULL);
    struct cloud_http_reply reply = {0};
    cloud_certificate_broker_handle(door->broker, serve_wall_us() / US_PER_S, &peer,
                                    method_name(evhttp_request_get_command(request)), path, body_of(request), body,
                                    sizeof(body), &reply);
    free(der);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    if (reply.status == 200 && strncmp(reply.content_type, "multipart/", 10) != 0) /* whose parts say it themselves */
        evhttp_add_header(headers, "Content-Transfer-Encoding", "base64");
    if (reply.status == 405)
        evhttp_add_header(headers, "Allow", strstr(path, "cacerts") || strstr(path, "csrattrs") ? "GET" : "POST");
    answer(request, &reply, body);
}

/* ---- CRL and OCSP ---------------------------------------------------------------------------------------------------- */

static void say(struct evhttp_request *request, int status, const char *why)
{
    answer(request, &(struct cloud_http_reply){status, "text/plain; charset=utf-8", strlen(why)}, why);
}

static void send_crl(struct https_door *door, struct evhttp_request *request, const char *name)
{
    static const struct {
        const char *name;
        enum cloud_ca ca;
    } lists[] = {{"operational.crl", CLOUD_CA_OPERATIONAL},
                 {"attestation.crl", CLOUD_CA_ATTESTATION},
                 {"claim.crl", CLOUD_CA_CLAIM}};
    struct cloud_pki *pki = door->broker->pki;
    int64_t now_s = serve_wall_us() / US_PER_S;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        if (strcmp(lists[i].name, name) != 0)
            continue;
        size_t capacity = cloud_pki_crl(pki, lists[i].ca, now_s, NULL, 0) + 65536; /* it may grow in between */
        uint8_t *der = malloc(capacity);
        size_t length = der ? cloud_pki_crl(pki, lists[i].ca, now_s, der, capacity) : 0;
        if (length)
            answer(request, &(struct cloud_http_reply){200, "application/pkix-crl", length}, der);
        else
            say(request, 500, "the list cannot be made\n");
        free(der);
        return;
    }
    say(request, 404, "no such list\n");
}

/* RFC 6960 appendix A: GET carries the request in the path, in base64, where '/', '+' and '=' may be escaped. */
static struct span ocsp_in_path(const char *path, uint8_t *der, size_t capacity)
{
    size_t length = 0;
    char *text = evhttp_uridecode(path, 0, &length);
    int bytes = text && length % 4 == 0 && length / 4 * 3 <= capacity
                    ? EVP_DecodeBlock(der, (const unsigned char *)text, (int)length)
                    : 0;
    for (size_t i = length; bytes > 0 && i > 0 && text[i - 1] == '=' && length - i < 2; i--)
        bytes--;
    free(text);
    return span_of(der, bytes > 0 ? (size_t)bytes : 0);
}

static void send_ocsp(struct https_door *door, struct evhttp_request *request, const char *rest)
{
    uint8_t out[ANSWER_MAX], der[4096];
    bool get = evhttp_request_get_command(request) == EVHTTP_REQ_GET;
    struct span asked = get && *rest == '/' ? ocsp_in_path(rest + 1, der, sizeof(der)) : body_of(request);
    size_t length = cloud_pki_ocsp(door->broker->pki, serve_wall_us() / US_PER_S, asked, out, sizeof(out));
    if (length)
        answer(request, &(struct cloud_http_reply){200, "application/ocsp-response", length}, out);
    else
        say(request, 500, "no response can be made\n");
}

static bool serve_standing(struct https_door *door, struct evhttp_request *request, const char *path)
{
    static const char crl[] = "/crl/", ocsp[] = "/ocsp";
    enum evhttp_cmd_type method = evhttp_request_get_command(request);
    bool list = strncmp(path, crl, sizeof(crl) - 1) == 0;
    const char *rest = path + sizeof(ocsp) - 1;
    if (!list && (strncmp(path, ocsp, sizeof(ocsp) - 1) != 0 || (*rest && *rest != '/')))
        return false;
    if (method == EVHTTP_REQ_GET || (list && method == EVHTTP_REQ_HEAD) || (!list && method == EVHTTP_REQ_POST)) {
        if (list)
            send_crl(door, request, path + sizeof(crl) - 1);
        else
            send_ocsp(door, request, rest);
        return true;
    }
    evhttp_add_header(evhttp_request_get_output_headers(request), "Allow", list ? "GET, HEAD" : "GET, POST");
    say(request, 405, list ? "use GET\n" : "use POST or GET\n");
    return true;
}

/* ---- operators and conversion ---------------------------------------------------------------------------------------- */

static void ask_desk(struct https_door *door, struct evhttp_request *request, const char *path)
{
    SSL *ssl = ssl_of(request);
    char name[64];
    bool known = operators_find(door->desk.pki_directory, ssl, name);
    struct desk_request question = {.method = method_name(evhttp_request_get_command(request)),
                                    .path = path,
                                    .authorisation =
                                        evhttp_find_header(evhttp_request_get_input_headers(request), "Authorization"),
                                    .body = body_of(request),
                                    .has_certificate = ssl && SSL_get0_peer_certificate(ssl),
                                    .operator_name = known ? name : NULL};
    struct desk_answer said = {0};
    door->desk.ask(door->desk.context, &question, &said);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    char number[16];
    snprintf(number, sizeof(number), "%u", said.retry_after_s);
    evhttp_add_header(headers, "Cache-Control", "no-store");
    if (said.status == 405 && said.allow)
        evhttp_add_header(headers, "Allow", said.allow);
    if (said.status == 429)
        evhttp_add_header(headers, "Retry-After", number);
    answer(request, &(struct cloud_http_reply){said.status, "application/json", said.text ? strlen(said.text) : 0},
           said.text);
    desk_release(&said);
}

static void on_secure(struct evhttp_request *request, void *context)
{
    struct https_door *door = context;
    const char *path = path_of(request);
    if (door->desk.pki_directory && desk_is_asked(path))
        ask_desk(door, request, path);
    else if (!serve_standing(door, request, path))
        enrol(door, request, path);
}

static void on_clear(struct evhttp_request *request, void *context)
{
    struct https_door *door = context;
    const char *path = path_of(request);
    if (serve_standing(door, request, path))
        return;
    bool est = strncmp(path, "/.well-known/est/", 17) == 0;
    say(request, est ? 403 : 404, est ? "enrolment needs HTTPS\n" : "no such resource\n");
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static void on_stop(evutil_socket_t fd, short what, void *base)
{
    event_base_loopbreak(base);
}

static void *run(void *context)
{
    event_base_dispatch(((struct https_door *)context)->base);
    return NULL;
}

static void release(struct https_door *door)
{
    if (door->secure)
        evhttp_free(door->secure); /* closes the listening socket and all connections */
    if (door->clear)
        evhttp_free(door->clear);
    if (door->stop)
        event_free(door->stop);
    if (door->base)
        event_base_free(door->base);
    if (door->stop_fd >= 0)
        close(door->stop_fd);
    SSL_CTX_free(door->context);
    free(door);
}

/* Takes the socket. NULL: not to be had. */
static struct evhttp *listen_on(struct https_door *door, int fd, void (*on_request)(struct evhttp_request *, void *))
{
    struct evhttp *http = door->base ? evhttp_new(door->base) : NULL;
    if (http) {
        evhttp_set_gencb(http, on_request, door);
        evhttp_set_timeout(http, TIMEOUT_S);
        evhttp_set_max_body_size(http, BODY_MAX);
        evhttp_set_max_headers_size(http, 16384);
        evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
                                             EVHTTP_REQ_DELETE);
        if (evhttp_accept_socket(http, fd) == 0)
            return http;
        evhttp_free(http);
    }
    close(fd);
    return NULL;
}

struct https_door *https_door_start(int secure_fd, SSL_CTX *context, int clear_fd,
                                    struct cloud_certificate_broker *broker, const struct https_desk *desk, char *error,
                                    size_t error_capacity)
{
    struct https_door *door = NULL;
    /* libev has functions of the same names; see CMakeLists.txt */
    bool right_library = strncmp(event_get_version(), "2.", 2) == 0;
    if (right_library)
        door = calloc(1, sizeof(*door));
    if (!door) {
        snprintf(error, error_capacity, "HTTPS: %s",
                 right_library ? "out of memory" : "this program was linked with libev before libevent");
        if (secure_fd >= 0)
            close(secure_fd);
        if (clear_fd >= 0)
            close(clear_fd);
        SSL_CTX_free(context);
        return NULL;
    }
    door->context = context;
    door->broker = broker;
    door->desk = *desk;
    door->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    door->base = event_base_new();
    door->stop = door->base ? event_new(door->base, door->stop_fd, EV_READ, on_stop, door->base) : NULL;
    door->secure = secure_fd >= 0 ? listen_on(door, secure_fd, on_secure) : NULL;
    door->clear = clear_fd >= 0 ? listen_on(door, clear_fd, on_clear) : NULL;
    if (door->secure)
        evhttp_set_bevcb(door->secure, new_connection, door);
    bool bound = (secure_fd < 0 || door->secure) && (clear_fd < 0 || door->clear) && door->stop &&
                 event_add(door->stop, NULL) == 0;
    if (bound && pthread_create(&door->thread, NULL, run, door) == 0)
        return door;
    snprintf(error, error_capacity, "HTTPS: the server cannot be started: %s", strerror(errno));
    release(door);
    return NULL;
}

void https_door_stop(struct https_door *door)
{
    if (!door)
        return;
    uint64_t one = 1;
    if (write(door->stop_fd, &one, sizeof(one)) == sizeof(one))
        pthread_join(door->thread, NULL);
    release(door);
}
