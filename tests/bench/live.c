/* bench/live.c: what one connection of the live world costs the rig's processor, in clear and over mutual TLS, against a loop that does nothing
 * but connect: blocking sockets, OpenSSL, CONNECT, CONNACK. Same machine, same run, same cloud at the other end (its own process, not counted).
 *
 * A connection of the live world is all of it: agent, due queue, TCP, TLS with a certificate of its own, CONNECT, the refused first attempt and the second,
 * SUBSCRIBE, measures. The cost of a run with one vehicle is taken off. Options: --vehicles N.
 */
#include "live_run.h"

#include "cloud/serve.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>

static char directory[64] = "/tmp/convoy-bench-XXXXXX";

static const char scenario_text[] =
    "local vehicles = param('fleet', 100, 'vehicles in all')\n"
    "local identity = param('identity', 'none', 'certificate or none')\n"
    "scenario 'bench' { start = '2026-03-04 08:00', duration = seconds(12 + vehicles / 50), seed = 1, warm_up = "
    "seconds(0) }\n"
    "region 'here' { latency = milliseconds(1) }\n"
    "cloud { activation = constant(milliseconds(10)), processors = 1 }\n"
    "cohort 'car' { count = vehicles, radio = 'ideal', identity = factory { kind = identity, provisioning = 'done' },\n"
    "  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(5) }, "
    "session_expiry = hours(1) },\n"
    "  trips = always_parked(), power_up = within(seconds(1)), backoff = { base = milliseconds(500), cap = seconds(1) "
    "} }\n"
    "expect 'online' (broker():connected():last()):at_least(vehicles)\n";

/* ---- live ---------------------------------------------------------------------------------------------------------- */

static void run_live(uint32_t vehicles, const char *identity, struct live_cost *cost)
{
    struct live_job job = {.scenario = scenario_text,
                           .directory = directory,
                           .broker = "embedded",
                           .connect_rate = 5000,
                           .overrides = {{"identity", identity}},
                           .override_count = 1,
                           .vehicles = vehicles};
    live_run(&job, cost);
    if (cost->online != vehicles)
        live_die("not every vehicle came online");
}

/* ---- bare ---------------------------------------------------------------------------------------------------------- */

struct bare {
    SSL_CTX *tls; /* NULL: clear */
    int port;
    uint32_t count;
    uint8_t (*certificates)[1024], (*keys)[256];
    size_t *certificate_lengths, *key_lengths;
    int *fds;
    SSL **links;
};

static size_t connect_packet(uint32_t number, uint8_t *out)
{
    char id[32];
    snprintf(id, sizeof id, "bare-%06u", number);
    struct mq5_packet packet = {.type = MQ5_CONNECT};
    packet.connect.version = MQ5_V5;
    packet.connect.clean_start = true;
    packet.connect.keep_alive_s = 300;
    packet.connect.client_id = span_text(id);
    size_t length = 0;
    if (mq5_encode(MQ5_V5, &packet, out, 256, &length) != MQ5_OK)
        live_die("cannot encode CONNECT");
    return length;
}

static int open_socket(int port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) < 0)
        live_die("cannot connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* true: accepted. */
static bool connect_bare(struct bare *bare, uint32_t i)
{
    uint8_t packet[256], answer[512];
    size_t length = connect_packet(i, packet);
    bare->fds[i] = open_socket(bare->port);
    if (!bare->tls)
        return write(bare->fds[i], packet, length) == (ssize_t)length &&
               read(bare->fds[i], answer, sizeof answer) > 3 && answer[3] == 0;
    SSL *ssl = bare->links[i] = SSL_new(bare->tls);
    if (!ssl || SSL_set_fd(ssl, bare->fds[i]) != 1 ||
        SSL_use_certificate_ASN1(ssl, bare->certificates[i], (int)bare->certificate_lengths[i]) != 1 ||
        SSL_use_PrivateKey_ASN1(EVP_PKEY_EC, ssl, bare->keys[i], (long)bare->key_lengths[i]) != 1 ||
        SSL_connect(ssl) != 1)
        live_die("TLS handshake failed");
    return SSL_write(ssl, packet, (int)length) == (int)length && SSL_read(ssl, answer, sizeof answer) > 3 &&
           answer[3] == 0;
}

static void close_bare(struct bare *bare, uint32_t i)
{
    SSL_free(bare->links[i]);
    bare->links[i] = NULL;
    if (bare->fds[i] >= 0)
        close(bare->fds[i]);
    bare->fds[i] = -1;
}

/* Processor time a connection. With certificates each identity is refused once and then accepted, as in the live world. */
static double run_bare(struct bare *bare)
{
    double began_s = live_cpu_s();
    uint32_t rounds = bare->tls ? 2 : 1;
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < bare->count; i++) {
            bool accepted = connect_bare(bare, i);
            if (accepted != (round == rounds - 1))
                live_die(accepted ? "a first connect was accepted" : "a connect was refused");
            if (!accepted)
                close_bare(bare, i);
        }
        if (round + 1 < rounds)
            usleep(200000);
    }
    double spent_s = live_cpu_s() - began_s;
    for (uint32_t i = 0; i < bare->count; i++)
        close_bare(bare, i);
    return spent_s * 1e6 / ((double)bare->count * rounds);
}

static void make_identities(struct bare *bare, const char *pki_directory)
{
    char error[256], name[32];
    struct cloud_pki *pki = cloud_pki_open(pki_directory, true, error, sizeof error);
    if (!pki)
        live_die(error);
    for (uint32_t i = 0; i < bare->count; i++) {
        snprintf(name, sizeof name, "bare-%06u", i);
        bare->certificate_lengths[i] = sizeof bare->certificates[i];
        bare->key_lengths[i] = sizeof bare->keys[i];
        if (!cloud_pki_make(pki, CLOUD_CA_OPERATIONAL, name, time(NULL) - 3600, 86400, bare->certificates[i],
                            &bare->certificate_lengths[i], bare->keys[i], &bare->key_lengths[i]))
            live_die("cannot make a certificate");
    }
    cloud_pki_close(pki);
}

static SSL_CTX *make_context(const char *pki_directory)
{
    char ca[160];
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    snprintf(ca, sizeof ca, "%s/ca.pem", pki_directory);
    if (!tls || SSL_CTX_load_verify_locations(tls, ca, NULL) != 1)
        live_die("cannot load the CA");
    SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    return tls;
}

static void run_both_bare(uint32_t count, double *plain_us, double *mutual_us)
{
    char pki_directory[128], error[256];
    struct cloud_serve_options options;
    struct cloud_serve_doors doors;
    struct bare bare = {.count = count};
    int stop_fd;
    snprintf(pki_directory, sizeof pki_directory, "%s/bare-pki", directory);
    cloud_serve_defaults(&options);
    options.pki_directory = pki_directory;
    options.https_port = -1;
    options.quiet = true;
    options.cloud.registration.activation_delay_us = 10 * US_PER_MS;
    int pid = cloud_serve_start(&options, &doors, &stop_fd, error, sizeof error);
    if (pid < 0)
        live_die(error);
    bare.certificates = calloc(count, sizeof *bare.certificates);
    bare.keys = calloc(count, sizeof *bare.keys);
    bare.certificate_lengths = calloc(count, sizeof *bare.certificate_lengths);
    bare.key_lengths = calloc(count, sizeof *bare.key_lengths);
    bare.fds = calloc(count, sizeof *bare.fds);
    bare.links = calloc(count, sizeof *bare.links);
    if (!bare.certificates || !bare.keys || !bare.certificate_lengths || !bare.key_lengths || !bare.fds || !bare.links)
        live_die("out of memory");
    make_identities(&bare, pki_directory);
    bare.port = doors.mqtt_port;
    *plain_us = run_bare(&bare);
    bare.tls = make_context(pki_directory);
    bare.port = doors.mqtts_port;
    *mutual_us = run_bare(&bare);
    cloud_serve_stop(pid, stop_fd, NULL);
    SSL_CTX_free(bare.tls);
    free(bare.certificates);
    free(bare.keys);
    free(bare.certificate_lengths);
    free(bare.key_lengths);
    free(bare.fds);
    free(bare.links);
}

/* -------------------------------------------------------------------------------------------------------------------- */

static double a_connection_us(const struct live_cost *many, const struct live_cost *one)
{
    return (many->cpu_s - one->cpu_s) * 1e6 / (double)(many->attempts - one->attempts);
}

int main(int argc, char **argv)
{
    uint32_t vehicles = argc == 3 && strcmp(argv[1], "--vehicles") == 0 ? (uint32_t)strtoul(argv[2], NULL, 10)
                        : argc == 1                                     ? 1000
                                                                        : 0;
    if (vehicles < 2 || vehicles > 15000) {
        fprintf(stderr, "usage: bench_live [--vehicles 2..15000]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (!mkdtemp(directory))
        live_die("cannot make a scratch directory");
    struct live_cost one_plain, plain, one_mutual, mutual;
    double bare_plain_us, bare_mutual_us;
    run_live(1, "none", &one_plain);
    run_live(vehicles, "none", &plain);
    run_live(1, "certificate", &one_mutual);
    run_live(vehicles, "certificate", &mutual);
    run_both_bare(vehicles, &bare_plain_us, &bare_mutual_us);
    double plain_us = a_connection_us(&plain, &one_plain), mutual_us = a_connection_us(&mutual, &one_mutual);
    printf("{\"bench\": \"live\", \"vehicles\": %u,\n", vehicles);
    printf(" \"plain\": {\"connection_cpu_us\": %.1f, \"bare_cpu_us\": %.1f, \"times_the_bare_cpu\": %.2f, "
           "\"connections\": "
           "%lld},\n",
           plain_us, bare_plain_us, plain_us / bare_plain_us, (long long)plain.attempts);
    printf(" \"mutual_tls\": {\"connection_cpu_us\": %.1f, \"bare_cpu_us\": %.1f, \"times_the_bare_cpu\": %.2f, "
           "\"connections\": %lld},\n",
           mutual_us, bare_mutual_us, mutual_us / bare_mutual_us, (long long)mutual.attempts);
    printf(" \"resident_bytes_per_vehicle\": {\"plain\": %.0f, \"mutual_tls\": %.0f}}\n",
           ((double)plain.peak_bytes - (double)one_plain.peak_bytes) / vehicles,
           ((double)mutual.peak_bytes - (double)one_mutual.peak_bytes) / vehicles);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command) == 0 ? 0 : 1;
}
