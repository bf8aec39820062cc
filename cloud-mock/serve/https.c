/* https.c: the certificate broker's door: libevent's HTTP server over OpenSSL, in a thread of its own, as enrolment (signatures) must not hold up MQTT. */
#include "serve_internal.h"

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
    struct evhttp *http;
    struct event *stop;
    SSL_CTX *context;
    struct cloud_certificate_broker *broker;
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

static void on_request(struct evhttp_request *request, void *context)
{
    struct https_door *door = context;
    struct cloud_peer peer = {.tls = true};
    uint8_t *der = NULL, answer[ANSWER_MAX];
    SSL *ssl = bufferevent_openssl_get_ssl(evhttp_connection_get_bufferevent(evhttp_request_get_connection(request)));
    if (ssl)
        serve_tls_peer(ssl, door->broker->pki, CLOUD_CA_ATTESTATION, &peer, &der);
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    size_t length = evbuffer_get_length(body);
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    struct cloud_http_reply reply = {0};
    cloud_certificate_broker_handle(
        door->broker, serve_wall_us() / US_PER_S, &peer, method_name(evhttp_request_get_command(request)),
        path ? path : "/", span_of(length ? evbuffer_pullup(body, -1) : NULL, length), answer, sizeof(answer), &reply);
    free(der);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    evhttp_add_header(headers, "Content-Type", reply.content_type);
    if (reply.status == 200)
        evhttp_add_header(headers, "Content-Transfer-Encoding", "base64");
    if (reply.status == 405)
        evhttp_add_header(headers, "Allow", path && strstr(path, "cacerts") ? "GET" : "POST");
    struct evbuffer *out = evbuffer_new();
    if (out)
        evbuffer_add(out, answer, reply.body_length);
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {{200, "OK"},        {400, "Bad Request"}, {401, "Unauthorized"},
                   {403, "Forbidden"}, {404, "Not Found"},   {405, "Method Not Allowed"}};
    const char *phrase = "Internal Server Error";
    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
        if (phrases[i].status == reply.status)
            phrase = phrases[i].phrase;
    evhttp_send_reply(request, reply.status, phrase, out);
    if (out)
        evbuffer_free(out);
}

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
    if (door->http)
        evhttp_free(door->http); /* closes the listening socket and all connections */
    if (door->stop)
        event_free(door->stop);
    if (door->base)
        event_base_free(door->base);
    if (door->stop_fd >= 0)
        close(door->stop_fd);
    SSL_CTX_free(door->context);
    free(door);
}

struct https_door *https_door_start(int fd, SSL_CTX *context, struct cloud_certificate_broker *broker, char *error,
                                    size_t error_capacity)
{
    if (strncmp(event_get_version(), "2.", 2) != 0) { /* libev has functions of the same names; see CMakeLists.txt */
        snprintf(error, error_capacity, "HTTPS: this program was linked with libev before libevent");
        close(fd);
        SSL_CTX_free(context);
        return NULL;
    }
    struct https_door *door = calloc(1, sizeof(*door));
    if (!door) {
        snprintf(error, error_capacity, "HTTPS: out of memory");
        close(fd);
        SSL_CTX_free(context);
        return NULL;
    }
    door->context = context;
    door->broker = broker;
    door->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    door->base = event_base_new();
    door->http = door->base ? evhttp_new(door->base) : NULL;
    door->stop = door->base ? event_new(door->base, door->stop_fd, EV_READ, on_stop, door->base) : NULL;
    if (door->http) {
        evhttp_set_bevcb(door->http, new_connection, door);
        evhttp_set_gencb(door->http, on_request, door);
        evhttp_set_timeout(door->http, TIMEOUT_S);
        evhttp_set_max_body_size(door->http, BODY_MAX);
        evhttp_set_max_headers_size(door->http, 16384);
        evhttp_set_allowed_methods(door->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
                                                   EVHTTP_REQ_DELETE);
    }
    bool bound =
        door->http && door->stop && event_add(door->stop, NULL) == 0 && evhttp_accept_socket(door->http, fd) == 0;
    if (!bound)
        close(fd);
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
