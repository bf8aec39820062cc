/* bench/live_publish.c: QoS 1 publishes a second from one process: the live world against a loop that does nothing else, with libmosquitto's client
 * and epoll. Same run, same broker (mosquitto, started here), same size of message, one subscriber of a shared subscription on either side.
 *
 * The bare loop keeps a fixed number of messages in flight and so finds the broker's limit. The live world is then offered what the bare loop
 * reached, as telemetry of very many vehicles at moments of their own, and counts what was acknowledged in five seconds. The processor time
 * a message costs either process is the figure that does not depend on how busy the machine is.
 * Options: --clients N (of the bare loop).
 */
#include "live_run.h"

#include <arpa/inet.h>
#include <mosquitto.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define MESSAGE_BYTES 200
#define IN_FLIGHT     256 /* of all clients */
#define MEASURE_S     5.0
#define PERIOD_MS     100 /* of a vehicle's telemetry: the shortest a scenario may ask for */

static char directory[64] = "/tmp/convoy-bench-XXXXXX";

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- the broker ------------------------------------------------------------------------------------------------------ */

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, length) < 0 || getsockname(fd, (struct sockaddr *)&at, &length) < 0)
        live_die("cannot find a free port");
    close(fd);
    return ntohs(at.sin_port);
}

static bool listens(int port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool yes = connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
    close(fd);
    return yes;
}

static pid_t start_broker(int port)
{
    char path[128];
    snprintf(path, sizeof path, "%s/mosquitto.conf", directory);
    FILE *file = fopen(path, "w");
    if (!file)
        live_die("cannot write the broker's configuration");
    fprintf(file,
            "listener %d 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n"
            "log_type none\nuser root\n",
            port);
    fclose(file);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* also when the bench gives up */
        execlp("mosquitto", "mosquitto", "-c", path, (char *)NULL);
        execl("/usr/sbin/mosquitto", "mosquitto", "-c", path, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 100 && waitpid(pid, NULL, WNOHANG) == 0; i++) {
        if (listens(port))
            return pid;
        usleep(50000);
    }
    live_die("mosquitto does not start: install the Debian package mosquitto");
    return -1;
}

static double process_cpu_s(pid_t pid)
{
    char path[64];
    unsigned long user = 0, system_time = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file ||
        fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system_time) != 2)
        user = system_time = 0;
    if (file)
        fclose(file);
    return (double)(user + system_time) / (double)sysconf(_SC_CLK_TCK);
}

/* ---- the bare loop --------------------------------------------------------------------------------------------------- */

struct bare {
    uint32_t count, online, next;
    struct mosquitto **clients;
    int epoll;
    uint64_t acknowledged, received;
    uint8_t payload[MESSAGE_BYTES];
};

static void publish_next(struct bare *bare)
{
    char topic[64];
    uint32_t i = bare->next = (bare->next + 1) % bare->count;
    snprintf(topic, sizeof topic, "bare/car-%06u/telemetry", i);
    if (mosquitto_publish(bare->clients[i], NULL, topic, MESSAGE_BYTES, bare->payload, 1, false) != MOSQ_ERR_SUCCESS)
        live_die("libmosquitto does not publish");
}

static void on_connect(struct mosquitto *client, void *context, int code)
{
    ((struct bare *)context)->online += code == 0;
}

static void on_publish(struct mosquitto *client, void *context, int id)
{
    struct bare *bare = context;
    bare->acknowledged++;
    publish_next(bare);
}

static void on_message(struct mosquitto *client, void *context, const struct mosquitto_message *message)
{
    ((struct bare *)context)->received++;
}

static void watch(struct bare *bare, struct mosquitto *client, bool add)
{
    struct epoll_event event = {.events = EPOLLIN | (mosquitto_want_write(client) ? EPOLLOUT : 0), .data.ptr = client};
    epoll_ctl(bare->epoll, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, mosquitto_socket(client), &event);
}

static struct mosquitto *make_client(struct bare *bare, const char *id, int port)
{
    struct mosquitto *client = mosquitto_new(id, true, bare);
    if (!client || mosquitto_int_option(client, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5) != MOSQ_ERR_SUCCESS ||
        mosquitto_int_option(client, MOSQ_OPT_SEND_MAXIMUM, 65535) != MOSQ_ERR_SUCCESS)
        live_die("libmosquitto: out of memory");
    mosquitto_connect_callback_set(client, on_connect);
    mosquitto_publish_callback_set(client, on_publish);
    mosquitto_message_callback_set(client, on_message);
    if (mosquitto_connect(client, "127.0.0.1", port, 300) != MOSQ_ERR_SUCCESS)
        live_die("libmosquitto does not connect");
    watch(bare, client, true);
    return client;
}

static void turn(struct bare *bare)
{
    struct epoll_event events[256];
    int ready = epoll_wait(bare->epoll, events, 256, 100);
    for (int i = 0; i < ready; i++) {
        struct mosquitto *client = events[i].data.ptr;
        if (events[i].events & EPOLLIN)
            mosquitto_loop_read(client, 64);
        if (mosquitto_want_write(client)) {
            mosquitto_loop_write(client, 64);
            watch(bare, client, false);
        } else if (events[i].events & EPOLLOUT) {
            watch(bare, client, false);
        }
    }
}

struct rate {
    double per_s, cpu_us, broker_cpu_share;
};

static struct rate run_bare(uint32_t clients, int port, pid_t broker)
{
    struct bare bare = {.count = clients, .epoll = epoll_create1(0)};
    mosquitto_lib_init();
    bare.clients = calloc(clients + 1, sizeof *bare.clients);
    memset(bare.payload, 'x', sizeof bare.payload);
    if (!bare.clients || bare.epoll < 0)
        live_die("out of memory");
    for (uint32_t i = 0; i <= clients; i++) {
        char id[32];
        snprintf(id, sizeof id, i < clients ? "bare-%06u" : "bare-processor", i);
        bare.clients[i] = make_client(&bare, id, port);
    }
    for (double until = seconds() + 20; bare.online <= clients && seconds() < until;)
        turn(&bare);
    if (bare.online <= clients)
        live_die("libmosquitto's clients do not all come online");
    mosquitto_subscribe(bare.clients[clients], NULL, "$share/processors/bare/+/telemetry", 1);
    for (uint32_t i = 0; i < IN_FLIGHT; i++)
        publish_next(&bare);
    for (double until = seconds() + 1; seconds() < until;)
        turn(&bare);
    uint64_t acknowledged = bare.acknowledged;
    double began = seconds(), cpu_s = live_cpu_s(), broker_s = process_cpu_s(broker);
    while (seconds() < began + MEASURE_S)
        turn(&bare);
    double took = seconds() - began;
    acknowledged = bare.acknowledged - acknowledged;
    if (!acknowledged || !bare.received)
        live_die("the bare loop published nothing, or nothing came back");
    struct rate rate = {(double)acknowledged / took, (live_cpu_s() - cpu_s) * 1e6 / (double)acknowledged,
                        (process_cpu_s(broker) - broker_s) / took};
    for (uint32_t i = 0; i <= clients; i++)
        mosquitto_destroy(bare.clients[i]);
    free(bare.clients);
    close(bare.epoll);
    mosquitto_lib_cleanup();
    return rate;
}

/* ---- live ------------------------------------------------------------------------------------------------------------ */

static const char scenario_text[] =
    "local vehicles = param('fleet', 100, 'vehicles in all')\n"
    "scenario 'publish' { start = '2026-03-04 08:00', duration = seconds(14), seed = 1, warm_up = seconds(9) }\n"
    "region 'here' { latency = milliseconds(1) }\n"
    "cloud { processors = 1 }\n"
    "cohort 'car' { count = vehicles, radio = 'ideal', identity = factory { kind = 'none', provisioning = 'done' },\n"
    "  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(5) }, "
    "session_expiry = hours(1) },\n"
    "  telemetry = every(milliseconds(100)):always():size(constant(200)):qos(1),\n"
    "  trips = always_parked(), power_up = within(seconds(2)), backoff = { base = milliseconds(500), cap = seconds(1) "
    "} }\n"
    "expect 'online' (broker():connected():last()):at_least(vehicles)\n";

static struct rate run_live(uint32_t vehicles, int port, pid_t broker, struct live_cost *cost)
{
    char uri[64];
    struct live_cost one;
    snprintf(uri, sizeof uri, "mqtt://127.0.0.1:%d", port);
    struct live_job job = {
        .scenario = scenario_text, .directory = directory, .broker = uri, .connect_rate = 3000, .vehicles = 1};
    live_run(&job, &one);
    job.vehicles = vehicles;
    double broker_s = process_cpu_s(broker);
    live_run(&job, cost);
    return (struct rate){(double)cost->acknowledged_at_pace / MEASURE_S,
                         (cost->cpu_s - one.cpu_s) * 1e6 / (double)cost->acknowledged,
                         (process_cpu_s(broker) - broker_s) / cost->wall_s};
}

int main(int argc, char **argv)
{
    uint32_t clients = argc == 3 && strcmp(argv[1], "--clients") == 0 ? (uint32_t)strtoul(argv[2], NULL, 10)
                       : argc == 1                                    ? 1000
                                                                      : 0;
    if (clients < 1 || clients > 6000) {
        fprintf(stderr, "usage: bench_live_publish [--clients 1..6000]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (!mkdtemp(directory))
        live_die("cannot make a scratch directory");
    int port = free_port();
    pid_t broker = start_broker(port);
    struct live_cost cost;
    struct rate bare = run_bare(clients, port, broker);
    uint32_t vehicles = (uint32_t)(bare.per_s * PERIOD_MS / 1000) + 1;
    vehicles = vehicles > 15000 ? 15000 : vehicles;
    struct rate live = run_live(vehicles, port, broker, &cost);
    kill(broker, SIGTERM);
    waitpid(broker, NULL, 0);
    printf("{\"bench\": \"live_publish\", \"qos\": 1, \"message_bytes\": %d,\n", MESSAGE_BYTES);
    printf(" \"bare_libmosquitto\": {\"publishes_per_s\": %.0f, \"cpu_us\": %.2f, \"broker_cores\": %.2f},\n",
           bare.per_s, bare.cpu_us, bare.broker_cpu_share);
    printf(
        " \"live\": {\"offered_per_s\": %.0f, \"publishes_per_s\": %.0f, \"cpu_us\": %.2f, \"broker_cores\": %.2f},\n",
        (double)vehicles * 1000 / PERIOD_MS, live.per_s, live.cpu_us, live.broker_cpu_share);
    printf(" \"times_the_bare_cpu\": %.2f, \"ratio_of_rates\": %.2f}\n", live.cpu_us / bare.cpu_us,
           live.per_s / bare.per_s);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command) == 0 ? 0 : 1;
}
