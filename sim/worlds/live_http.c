/* live_http.c: requests to the certificate broker: HTTPS with the attestation certificate, libcurl's sockets in the world's loop.
 *
 * Every request is a vehicle of its own: connections and TLS sessions are never shared, or one vehicle would speak under another's name.
 */
#include "live.h"

#include "vehicle/crypto.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MAX 16384

struct socket_watch {
    ev_io watcher;
    struct live_world *world;
};

void live_http_release(struct live_request *request)
{
    if (request->place) {
        *request->place = request->next;
        if (request->next)
            request->next->place = request->place;
    }
    if (request->easy)
        curl_easy_cleanup(request->easy);
    curl_slist_free_all(request->headers);
    free(request->certificate);
    free(request->key);
    free(request->body);
    free(request->answer);
    free(request);
}

/* ---- outcome ------------------------------------------------------------------------------------------------------- */

static void count_bytes(struct live_vehicle *vehicle, CURL *easy)
{
    long head = 0, answer_head = 0;
    curl_off_t up = 0, down = 0;
    curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &head);
    curl_easy_getinfo(easy, CURLINFO_HEADER_SIZE, &answer_head);
    curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &up);
    curl_easy_getinfo(easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    vehicle->trace.bytes_up += (uint64_t)head + (uint64_t)up;
    vehicle->trace.bytes_down += (uint64_t)answer_head + (uint64_t)down;
}

static void finish(struct live_request *request, CURLcode code)
{
    struct live_world *world = request->world;
    struct live_vehicle *vehicle = &world->vehicles[request->vehicle];
    long status = 0;
    uint8_t certificate[TCU_CERTIFICATE_MAX];
    size_t length = 0;
    assert_context.vehicle = vehicle->index;
    if (code == CURLE_OK)
        curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
    count_bytes(vehicle, request->easy);
    bool wanted = request->serial == vehicle->requests;
    if (wanted && status == 200)
        length = tcu_crypto_certificate(
            span_of(request->answer, request->answer_length),
            span_of(vehicle->stored[TCU_STORE_OPERATIONAL_KEY], vehicle->stored_length[TCU_STORE_OPERATIONAL_KEY]),
            certificate, sizeof certificate);
    if (code != CURLE_OK && !world->first_tls_failure[0])
        snprintf(world->first_tls_failure, sizeof world->first_tls_failure, "certificate broker: %s",
                 curl_easy_strerror(code));
    live_admit_done(world);
    live_tick(world);
    if (wanted && world->radios)
        live_radio_answer(vehicle, (int)status, span_of(certificate, length), request->answer_length);
    else if (wanted)
        tcu_http_response(vehicle->tcu, world->now_us, (int)status, span_of(certificate, length));
    live_http_release(request);
}

static void collect(struct live_world *world)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(world->curl, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        struct live_request *request = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&request);
        curl_multi_remove_handle(world->curl, request->easy);
        finish(request, code);
    }
}

/* ---- libcurl's sockets and its timer in our loop ------------------------------------------------------------------- */

static void on_socket(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct live_world *world = ((struct socket_watch *)watcher)->world;
    int action = (events & EV_READ ? CURL_CSELECT_IN : 0) | (events & EV_WRITE ? CURL_CSELECT_OUT : 0);
    int running;
    live_tick(world);
    curl_multi_socket_action(world->curl, watcher->fd, action, &running);
    collect(world);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *of_socket)
{
    struct live_world *world = context;
    struct socket_watch *watch = of_socket;
    if (watch)
        ev_io_stop(world->loop, &watch->watcher);
    if (what == CURL_POLL_REMOVE) {
        free(watch);
        return 0;
    }
    if (!watch) {
        watch = calloc(1, sizeof *watch);
        if (!watch)
            return -1;
        watch->world = world;
        curl_multi_assign(world->curl, fd, watch);
    }
    ev_io_init(&watch->watcher, on_socket, fd,
               (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));
    ev_io_start(world->loop, &watch->watcher);
    return 0;
}

static void on_timer(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct live_world *world = watcher->data;
    int running;
    live_tick(world);
    curl_multi_socket_action(world->curl, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(world);
}

static int set_timer(CURLM *multi, long wait_ms, void *context)
{
    struct live_world *world = context;
    ev_timer_stop(world->loop, &world->curl_timer);
    if (wait_ms >= 0) {
        ev_timer_set(&world->curl_timer, (double)wait_ms / 1e3, 0);
        ev_timer_start(world->loop, &world->curl_timer);
    }
    return 0;
}

/* ---- one request --------------------------------------------------------------------------------------------------- */

static size_t on_answer(char *data, size_t size, size_t count, void *context)
{
    struct live_request *request = context;
    size_t length = size * count;
    if (request->answer_length + length > ANSWER_MAX)
        return 0; /* ends the transfer */
    uint8_t *answer = realloc(request->answer, request->answer_length + length);
    if (!answer)
        return 0;
    request->answer = answer;
    memcpy(answer + request->answer_length, data, length);
    request->answer_length += length;
    return length;
}

static CURLcode set_identity(CURL *easy, void *context_of_tls, void *context)
{
    const struct live_request *request = context;
    SSL_CTX *tls = context_of_tls;
    SSL_CTX_set1_cert_store(tls, request->world->trust);
    if (SSL_CTX_use_certificate_ASN1(tls, (int)request->certificate_length, request->certificate) == 1 &&
        SSL_CTX_use_PrivateKey_ASN1(EVP_PKEY_EC, tls, request->key, (long)request->key_length) == 1)
        return CURLE_OK;
    ERR_clear_error();
    return CURLE_SSL_CERTPROBLEM;
}

static void set_options(struct live_request *request)
{
    struct live_world *world = request->world;
    CURL *easy = request->easy;
    char url[256];
    const struct scenario_cohort *cohort = &world->scenario->cohorts[world->vehicles[request->vehicle].trace.cohort];
    const struct live_broker *broker = &world->brokers[world->vehicles[request->vehicle].broker];
    const struct cloud_serve_doors *doors = broker->served.https_port > 0 ? &broker->served : &world->brokers[0].served;
    snprintf(url, sizeof url, "https://%s:%d/.well-known/est/simpleenroll", doors->address, doors->https_port);
    request->headers = curl_slist_append(NULL, "Content-Type: application/pkcs10");
    request->headers = curl_slist_append(request->headers, "Content-Transfer-Encoding: base64");
    request->headers = curl_slist_append(request->headers, "Expect:"); /* no 100-continue round trip */
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, (char *)request);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, (void *)request);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(cohort->connect_timeout_us / US_PER_MS));
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL); /* not the system's: reading that costs 15 ms a request */
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, set_identity);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, (void *)request);
    curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* whatever the environment says */
}

/* Admitted. The first step is libcurl's timer, so nothing is called back from here. */
void live_http_start(struct live_request *request)
{
    struct live_world *world = request->world;
    request->easy = curl_easy_init();
    if (request->easy)
        set_options(request);
    if (request->easy && curl_multi_add_handle(world->curl, request->easy) == CURLM_OK) {
        request->next = world->requests;
        request->place = &world->requests;
        if (world->requests)
            world->requests->place = &request->next;
        world->requests = request;
        return;
    }
    live_admit_done(world);
    struct live_vehicle *vehicle = &world->vehicles[request->vehicle];
    live_schedule(vehicle, LIVE_HTTP_FAILED, world->now_us, request->serial);
    live_http_release(request);
}

bool live_http_create(struct live_world *world)
{
    char ca[600];
    curl_global_init(CURL_GLOBAL_DEFAULT);
    world->curl = curl_multi_init();
    world->trust = X509_STORE_new();
    if (!world->curl || !world->trust)
        return live_fail(world, "out of memory for the certificate broker's client");
    snprintf(ca, sizeof ca, "%s/ca.pem", world->pki_directory);
    if (X509_STORE_load_locations(world->trust, ca, NULL) != 1)
        return live_fail(world, "%s: cannot be read as CA certificates in PEM form", ca);
    ev_init(&world->curl_timer, on_timer);
    world->curl_timer.data = world;
    curl_multi_setopt(world->curl, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(world->curl, CURLMOPT_SOCKETDATA, (void *)world);
    curl_multi_setopt(world->curl, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(world->curl, CURLMOPT_TIMERDATA, (void *)world);
    return true;
}

/* Requests still under way go with their vehicles. */
void live_http_destroy(struct live_world *world)
{
    if (world->curl) {
        struct live_ticket ticket;
        while (live_line_pop(&world->line, &ticket))
            if (ticket.request)
                live_http_release(ticket.request);
        while (world->requests) {
            curl_multi_remove_handle(world->curl, world->requests->easy);
            live_http_release(world->requests);
        }
        curl_multi_cleanup(world->curl);
        world->curl = NULL;
    }
    X509_STORE_free(world->trust);
    world->trust = NULL;
}
