/* serve.c: opens the doors, runs until told to stop, closes them in order; and the same in a child process. */
#define _GNU_SOURCE
#include "serve_internal.h"

#include "cloud/lifecycle.h"
#include "cloud/pki_store.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_ENVIRONMENT 3
#define GOODBYE_S        2.5
#define START_TIMEOUT_MS 60000
#define REVOKED_POLL_S   0.1  /* how long a revocation by another process goes unnoticed */
#define CRL_POLL_S       60.0 /* a list whose half-life is over is made again */

void cloud_serve_defaults(struct cloud_serve_options *options)
{
    memset(options, 0, sizeof(*options));
    options->address = "127.0.0.1";
    options->mqtt_port = options->mqtts_port = options->https_port = 0;
    options->mqtts_password_port = options->http_port = options->ws_port = options->wss_port = -1;
    options->watch_fd = -1;
    cloud_broker_defaults(&options->cloud.broker);
    options->cloud.profile = cloud_profile_find("embedded");
    options->cloud.registration.activation_delay_us = 2 * US_PER_S;
    options->cloud.certificate_lifetime_s = 365 * INT64_C(86400);
}

struct server {
    const struct cloud_serve_options *options;
    struct cloud_options cloud_options;
    struct cloud_lifecycle_options lifecycle; /* with operators: the caller's, and what is set here */
    uint8_t vin_key[32];
    struct desk *desk; /* NULL: no operators */
    struct ev_loop *loop;
    struct cloud_pki *pki;
    struct cloud_registry *registry;
    struct mqtt_door *mqtt;
    struct https_door *https;
    struct cloud_certificate_broker certificates;
    struct cloud_serve_doors doors;
    ev_signal interrupt, terminate;
    ev_io stop, watch;
    pthread_mutex_t
        cloud_lock; /* held by the loop but while it waits: the certificate broker's thread asks the cloud for names */
    ev_timer goodbye, save, revoked, cut, lists;
    ev_async changed; /* another thread has changed what the loop waits for */
    bool stopping, over;
    char *error;
    size_t error_capacity;
};

/* ---- opening -------------------------------------------------------------------------------------------------------- */

static bool open_mqtt(struct server *server, int wanted, int *port, bool tls, enum serve_tls use)
{
    const struct cloud_serve_options *options = server->options;
    SSL_CTX *context = NULL;
    *port = -1;
    if (wanted < 0)
        return true;
    if (tls && !(context = serve_tls_context(options, server->pki, use, server->error, server->error_capacity)))
        return false;
    *port = wanted;
    int fd = serve_listen(options->address, port, server->error, server->error_capacity);
    if (fd < 0) {
        SSL_CTX_free(context);
        return false;
    }
    return mqtt_door_listen(server->mqtt, fd, context, use == SERVE_TLS_WEB);
}

static bool listen_at(struct server *server, int wanted, int *port, int *fd)
{
    *port = wanted;
    *fd = serve_listen(server->options->address, port, server->error, server->error_capacity);
    return *fd >= 0;
}

/* In the HTTPS door's thread: the loop waits, or waits for us. */
static void ask_desk(void *context, const struct desk_request *request, struct desk_answer *answer)
{
    struct server *server = context;
    pthread_mutex_lock(&server->cloud_lock);
    ev_now_update(server->loop);
    desk_handle(server->desk, serve_monotonic_us(), request, answer);
    ev_async_send(server->loop, &server->changed);
    pthread_mutex_unlock(&server->cloud_lock);
}

static bool open_desk(struct server *server)
{
    if (!server->options->operators)
        return true;
    server->desk = desk_open(server->options, mqtt_door_cloud(server->mqtt), server->cloud_options.epoch_us,
                             server->error, server->error_capacity);
    return server->desk != NULL;
}

static bool open_https(struct server *server)
{
    const struct cloud_serve_options *options = server->options;
    server->doors.https_port = server->doors.http_port = -1;
    if (options->https_port < 0 && options->http_port < 0)
        return true;
    SSL_CTX *context = NULL;
    int secure = -1, clear = -1;
    bool good = true;
    if (options->https_port >= 0) {
        context = serve_tls_context(options, server->pki, SERVE_TLS_HTTPS, server->error, server->error_capacity);
        good = context && listen_at(server, options->https_port, &server->doors.https_port, &secure);
    }
    if (good && options->http_port >= 0)
        good = listen_at(server, options->http_port, &server->doors.http_port, &clear);
    if (!good) {
        if (secure >= 0)
            close(secure);
        SSL_CTX_free(context);
        return false;
    }
    struct https_desk desk = {server->desk ? options->pki_directory : NULL, ask_desk, server};
    server->https =
        https_door_start(secure, context, clear, &server->certificates, &desk, server->error, server->error_capacity);
    return server->https != NULL;
}

static bool resolve(void *context, const struct cloud_peer *attestation, char name[64])
{
    struct server *server = context;
    pthread_mutex_lock(&server->cloud_lock);
    struct cloud *cloud = server->mqtt ? mqtt_door_cloud(server->mqtt) : NULL;
    bool known = cloud && cloud_lifecycle_resolve(cloud->lifecycle, attestation, name);
    pthread_mutex_unlock(&server->cloud_lock);
    return known;
}

static bool open_doors(struct server *server)
{
    const struct cloud_serve_options *options = server->options;
    server->doors.mqtt_port = server->doors.mqtts_port = server->doors.mqtts_password_port = -1;
    server->doors.ws_port = server->doors.wss_port = -1;
    snprintf(server->doors.address, sizeof(server->doors.address), "%s", options->address);
    snprintf(server->doors.pki_directory, sizeof(server->doors.pki_directory), "%s", options->pki_directory);
    server->certificates =
        (struct cloud_certificate_broker){.pki = server->pki, .lifetime_s = options->cloud.certificate_lifetime_s};
    if (options->cloud.lifecycle) {
        server->certificates.resolve = resolve;
        server->certificates.resolve_context = server;
    }
    if (!options->without_broker) {
        server->mqtt =
            mqtt_door_create(server->loop, &server->cloud_options, server->pki, server->registry, options->scram);
        if (!server->mqtt) {
            if (!server->error_capacity || !server->error[0])
                snprintf(server->error, server->error_capacity, "cloud: out of memory");
            return false;
        }
        if (!open_mqtt(server, options->mqtt_port, &server->doors.mqtt_port, false, SERVE_TLS_MUTUAL) ||
            !open_mqtt(server, options->mqtts_port, &server->doors.mqtts_port, true, SERVE_TLS_MUTUAL) ||
            !open_mqtt(server, options->mqtts_password_port, &server->doors.mqtts_password_port, true,
                       SERVE_TLS_PASSWORD) ||
            !open_mqtt(server, options->ws_port, &server->doors.ws_port, false, SERVE_TLS_WEB) ||
            !open_mqtt(server, options->wss_port, &server->doors.wss_port, true, SERVE_TLS_WEB))
            return false;
    }
    return open_desk(server) && open_https(server);
}

/* The life cycle as the caller wants it, with this directory's key and this moment's clock. */
static bool prepare_operators(struct server *server)
{
    const struct cloud_serve_options *options = server->options;
    if (!options->operators)
        return true;
    if (options->without_broker || !options->cloud.lifecycle) {
        snprintf(server->error, server->error_capacity, "operators: there is no life cycle to work on");
        return false;
    }
    server->lifecycle = *options->cloud.lifecycle;
    server->lifecycle.epoch_us = server->cloud_options.epoch_us;
    server->lifecycle.certificate_lifetime_s = options->cloud.certificate_lifetime_s;
    server->lifecycle.vin_key = server->vin_key;
    server->cloud_options.lifecycle = &server->lifecycle;
    server->cloud_options.error = server->error;
    server->cloud_options.error_capacity = server->error_capacity;
    if (getrandom(&server->lifecycle.seed, sizeof(server->lifecycle.seed), 0) != sizeof(server->lifecycle.seed)) {
        snprintf(server->error, server->error_capacity, "operators: no random numbers: %s", strerror(errno));
        return false;
    }
    return cloud_serve_operators(options->pki_directory, server->error, server->error_capacity) &&
           cloud_serve_vin_key(options->pki_directory, server->vin_key, server->error, server->error_capacity);
}

static bool open_stores(struct server *server)
{
    const struct cloud_serve_options *options = server->options;
    if (!options->pki_directory) {
        snprintf(server->error, server->error_capacity, "certificates: no directory given");
        return false;
    }
    server->pki = cloud_pki_open(options->pki_directory, true, server->error, server->error_capacity);
    if (server->pki && !cloud_pki_set_public_url(server->pki, options->public_url)) {
        snprintf(server->error, server->error_capacity, "certificates: '%s' is no URL of the form http://host:port",
                 options->public_url);
        return false;
    }
    if (server->pki &&
        !cloud_pki_write_crls(server->pki, serve_wall_us() / US_PER_S, server->error, server->error_capacity))
        return false;
    server->registry =
        server->pki ? cloud_registry_open(options->registry_path, server->error, server->error_capacity) : NULL;
    return server->registry != NULL && prepare_operators(server);
}

/* ---- running -------------------------------------------------------------------------------------------------------- */

static void on_goodbye(struct ev_loop *loop, ev_timer *timer, int events)
{
    ((struct server *)timer->data)->over = true;
}

static void stop(struct server *server)
{
    if (server->stopping) { /* asked twice: at once */
        server->over = true;
        return;
    }
    server->stopping = true;
    ev_io_stop(server->loop, &server->stop);
    if (server->mqtt)
        mqtt_door_shutdown(server->mqtt);
    ev_timer_set(&server->goodbye, GOODBYE_S, 0);
    ev_timer_start(server->loop, &server->goodbye);
}

static void on_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
    stop(watcher->data);
}

static void on_stop_fd(struct ev_loop *loop, ev_io *watcher, int events)
{
    char ignored[16];
    ssize_t got = read(watcher->fd, ignored, sizeof(ignored));
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    stop(watcher->data);
}

/* ---- revocation ------------------------------------------------------------------------------------------------------ */

static bool tell_registry(void *context, const struct cloud_issued *issued)
{
    struct server *server = context;
    char thing[64];
    enum cloud_certificate_status status = cloud_registry_status(server->registry, issued->id);
    /* The one the vehicle lives by: its history tells of it, and it is kept out until an operator releases it. */
    if (server->desk && status == CLOUD_CERTIFICATE_ACTIVE &&
        cloud_registry_thing_of(server->registry, issued->id, thing)) {
        const char *reason = cloud_revocation_reason_name(issued->reason);
        cloud_lifecycle_revoke(mqtt_door_cloud(server->mqtt)->lifecycle, serve_monotonic_us(), span_text(thing),
                               reason ? reason : "unspecified");
        status = cloud_registry_status(server->registry, issued->id);
    }
    if (status != CLOUD_CERTIFICATE_UNKNOWN && status != CLOUD_CERTIFICATE_REVOKED) {
        cloud_registry_revoke(server->registry, issued->id, issued->revoked_s);
        cloud_registry_set_status(server->registry, issued->id, CLOUD_CERTIFICATE_REVOKED, issued->revoked_s);
    }
    return true;
}

/* What a service has revoked goes onto the list; what only its CA has (and the cloud lets in: an audit's finding) is not ours to mend. */
static bool tell_index(void *context, const struct cloud_certificate *certificate, int64_t at_s)
{
    struct server *server = context;
    char error[256];
    enum cloud_ca ca = memcmp(certificate->issuer_id, cloud_pki_ca(server->pki, CLOUD_CA_CLAIM)->id, 32) == 0
                           ? CLOUD_CA_CLAIM
                           : CLOUD_CA_OPERATIONAL;
    if (!cloud_pki_is_revoked(server->pki, ca, certificate->serial) &&
        cloud_registry_status(server->registry, certificate->id) == CLOUD_CERTIFICATE_REVOKED)
        cloud_pki_revoke(server->pki, ca, certificate->serial, 0, at_s, error, sizeof(error)); /* or the next time */
    return true;
}

static void on_cut(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct server *server = timer->data;
    ev_timer_stop(loop, timer);
    if (server->mqtt)
        mqtt_door_cut_revoked(server->mqtt);
}

static void on_revoked(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct server *server = timer->data;
    if (!cloud_pki_refresh(server->pki))
        return;
    cloud_pki_revoked(server->pki, tell_registry, server);
    if (server->options->cut_delay_us < 0 || ev_is_active(&server->cut))
        return; /* the cut that is due takes everybody who is revoked by then */
    ev_timer_set(&server->cut, (double)server->options->cut_delay_us / 1e6, 0);
    ev_timer_start(loop, &server->cut);
}

static void on_lists(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct server *server = timer->data;
    char error[256];
    cloud_pki_write_crls(server->pki, serve_wall_us() / US_PER_S, error, sizeof(error)); /* or the next time */
}

static void on_save(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct server *server = timer->data;
    cloud_registry_revoked(server->registry, tell_index, server);
    cloud_registry_flush(server->registry);
    if (server->desk)
        desk_save(server->desk);
}

static void on_changed(struct ev_loop *loop, ev_async *watcher, int events)
{
    /* The loop has turned: what was to be sent is sent, deadlines are looked at again. */
}

static void watch_revocations(struct server *server)
{
    cloud_pki_revoked(server->pki, tell_registry, server);
    ev_timer_init(&server->revoked, on_revoked, REVOKED_POLL_S, REVOKED_POLL_S);
    ev_timer_init(&server->lists, on_lists, CRL_POLL_S, CRL_POLL_S);
    ev_timer_init(&server->cut, on_cut, 0, 0);
    server->revoked.data = server->lists.data = server->cut.data = server;
    ev_timer_start(server->loop, &server->revoked);
    ev_timer_start(server->loop, &server->lists);
}

static void on_watch(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct server *server = watcher->data;
    server->options->readable(server->options->watch_context, mqtt_door_cloud(server->mqtt), serve_monotonic_us());
}

static void before_waiting(struct ev_loop *loop) EV_NOEXCEPT
{
    pthread_mutex_unlock(&((struct server *)ev_userdata(loop))->cloud_lock);
}

static void after_waiting(struct ev_loop *loop) EV_NOEXCEPT
{
    pthread_mutex_lock(&((struct server *)ev_userdata(loop))->cloud_lock);
}

static void run_loop(struct server *server, int stop_fd)
{
    watch_revocations(server);
    ev_signal_init(&server->interrupt, on_signal, SIGINT);
    ev_signal_init(&server->terminate, on_signal, SIGTERM);
    ev_io_init(&server->stop, on_stop_fd, stop_fd, EV_READ);
    ev_timer_init(&server->goodbye, on_goodbye, 0, 0);
    ev_timer_init(&server->save, on_save, 1.0, 1.0);
    server->interrupt.data = server->terminate.data = server->stop.data = server->save.data = server->goodbye.data =
        server;
    struct sigaction now;
    if (sigaction(SIGINT, NULL, &now) != 0 || now.sa_handler != SIG_IGN) /* ignored: a child, whose parent decides */
        ev_signal_start(server->loop, &server->interrupt);
    ev_signal_start(server->loop, &server->terminate);
    if (stop_fd >= 0)
        ev_io_start(server->loop, &server->stop);
    ev_timer_start(server->loop, &server->save);
    ev_io_init(&server->watch, on_watch, server->options->watch_fd, EV_READ);
    server->watch.data = server;
    if (server->mqtt && server->options->watch_fd >= 0)
        ev_io_start(server->loop, &server->watch);
    ev_set_userdata(server->loop, server);
    ev_set_loop_release_cb(server->loop, before_waiting, after_waiting);
    while (!server->over) {
        ev_run(server->loop, EVRUN_ONCE);
        if (server->stopping && (!server->mqtt || mqtt_door_idle(server->mqtt)))
            server->over = true;
    }
    ev_io_stop(server->loop, &server->watch);
    ev_signal_stop(server->loop, &server->interrupt);
    ev_signal_stop(server->loop, &server->terminate);
    ev_io_stop(server->loop, &server->stop);
    ev_timer_stop(server->loop, &server->goodbye);
    ev_timer_stop(server->loop, &server->save);
    ev_timer_stop(server->loop, &server->revoked);
    ev_timer_stop(server->loop, &server->lists);
    ev_timer_stop(server->loop, &server->cut);
}

int cloud_serve_run(const struct cloud_serve_options *options, int stop_fd,
                    void (*ready)(void *context, const struct cloud_serve_doors *doors), void *context, char *error,
                    size_t error_capacity)
{
    struct server server = {
        .options = options, .cloud_options = options->cloud, .error = error, .error_capacity = error_capacity};
    if (error_capacity)
        error[0] = 0;
    if (server.cloud_options.epoch_us == 0)
        server.cloud_options.epoch_us = serve_wall_us() - serve_monotonic_us();
    if (server.cloud_options.registration.epoch_us == 0)
        server.cloud_options.registration.epoch_us = server.cloud_options.epoch_us;
    signal(SIGPIPE, SIG_IGN);
    pthread_mutex_init(&server.cloud_lock, NULL);
    server.loop = ev_loop_new(EVFLAG_AUTO);
    ev_async_init(&server.changed, on_changed);
    if (server.loop)
        ev_async_start(server.loop, &server.changed);
    pthread_mutex_lock(&server.cloud_lock); /* the HTTPS door is open before the loop runs */
    bool good = server.loop && open_stores(&server) && open_doors(&server);
    if (good) {
        if (options->opened && server.mqtt)
            options->opened(options->watch_context, mqtt_door_cloud(server.mqtt), serve_monotonic_us());
        if (ready)
            ready(context, &server.doors);
        run_loop(&server, stop_fd);
    } else if (error_capacity && !error[0]) {
        snprintf(error, error_capacity, "cloud: cannot start: %s", strerror(errno));
    }
    pthread_mutex_unlock(&server.cloud_lock);
    https_door_stop(server.https);
    desk_close(server.desk);
    mqtt_door_destroy(server.mqtt);
    cloud_registry_close(server.registry);
    cloud_pki_close(server.pki);
    OPENSSL_cleanse(server.vin_key, sizeof(server.vin_key));
    if (server.loop)
        ev_loop_destroy(server.loop);
    return good ? 0 : EXIT_ENVIRONMENT;
}

/* ---- in a child ----------------------------------------------------------------------------------------------------- */

struct hello {
    int code;
    struct cloud_serve_doors doors;
    char error[256];
};

static void say_hello(void *context, const struct cloud_serve_doors *doors)
{
    struct hello hello = {.doors = *doors};
    int fd = *(int *)context;
    if (write(fd, &hello, sizeof(hello)) != (ssize_t)sizeof(hello))
        _exit(EXIT_ENVIRONMENT);
}

static void close_all_but(int one, int other)
{
    unsigned low = (unsigned)one, high = (unsigned)one;
    if (other >= 0 && other < one)
        low = (unsigned)other;
    else if (other > one)
        high = (unsigned)other;
    if (low > 3)
        close_range(3, low - 1, 0);
    if (high > low + 1)
        close_range(low + 1, high - 1, 0);
    close_range(high + 1, ~0u, 0);
}

static _Noreturn void child(const struct cloud_serve_options *options, int fd)
{
    struct hello hello = {0};
    /* What the parent had open is not ours: a copy of another child's pipe would keep that child alive. */
    close_all_but(fd, options->watch_fd);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGINT, SIG_IGN);  /* Ctrl-C is the parent's to handle: the cloud must outlive its vehicles */
    signal(SIGUSR1, SIG_IGN); /* as mpirun passes it on, to the whole process group */
    signal(SIGUSR2, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    hello.code = cloud_serve_run(options, fd, say_hello, &fd, hello.error, sizeof(hello.error));
    if (hello.code && write(fd, &hello, sizeof(hello)) != (ssize_t)sizeof(hello))
        _exit(EXIT_ENVIRONMENT);
    _exit(hello.code);
}

static bool hear_hello(int fd, struct hello *hello)
{
    size_t got = 0;
    while (got < sizeof(*hello)) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        int ready = poll(&waiting, 1, START_TIMEOUT_MS);
        if (ready < 0 && errno == EINTR)
            continue;
        ssize_t count = ready > 0 ? read(fd, (char *)hello + got, sizeof(*hello) - got) : 0;
        if (count <= 0)
            return false;
        got += (size_t)count;
    }
    return true;
}

int cloud_serve_start(const struct cloud_serve_options *options, struct cloud_serve_doors *doors, int *stop_fd,
                      char *error, size_t error_capacity)
{
    int pair[2];
    struct hello hello = {0};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        snprintf(error, error_capacity, "cloud: %s", strerror(errno));
        return -1;
    }
    fflush(NULL); /* or the child could print our text a second time */
    pid_t pid = fork();
    if (pid == 0)
        child(options, pair[1]);
    close(pair[1]);
    if (pid > 0 && hear_hello(pair[0], &hello) && hello.code == 0) {
        *doors = hello.doors;
        *stop_fd = pair[0];
        return pid;
    }
    if (pid < 0)
        snprintf(error, error_capacity, "cloud: %s", strerror(errno));
    else
        snprintf(error, error_capacity, "%s", hello.error[0] ? hello.error : "cloud: did not start");
    close(pair[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return -1;
}

void cloud_serve_stop(int pid, int stop_fd, double *cpu_s)
{
    struct rusage usage = {0};
    close(stop_fd);
    while (wait4(pid, NULL, 0, &usage) < 0 && errno == EINTR)
        ;
    if (cpu_s)
        *cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}
