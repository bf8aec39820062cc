/* The doors over real sockets on loopback: a conversation byte by byte, a slow reader, a port that is taken, a restart, a child that ends with its parent's
 * word. */
#define _GNU_SOURCE
#include "cloud/serve.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files_rig.h"

struct running {
    int pid, stop_fd;
    struct cloud_serve_doors doors;
};

static void start(struct running *running, void (*change)(struct cloud_serve_options *options))
{
    char error[256] = "";
    struct cloud_serve_options options;
    cloud_serve_defaults(&options);
    options.pki_directory = directory;
    if (change)
        change(&options);
    running->pid = cloud_serve_start(&options, &running->doors, &running->stop_fd, error, sizeof(error));
    if (running->pid < 0)
        fail_msg("%s", error);
}

static int connect_to(int port)
{
    struct sockaddr_in where = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&where, sizeof(where)), 0);
    return fd;
}

static void put(int fd, const struct mq5_packet *packet, bool byte_by_byte)
{
    uint8_t bytes[4096];
    size_t length;
    assert_int_equal(mq5_encode(MQ5_V5, packet, bytes, sizeof(bytes), &length), MQ5_OK);
    for (size_t at = 0; at < length;) {
        size_t part = byte_by_byte ? 1 : length - at;
        assert_int_equal(send(fd, bytes + at, part, MSG_NOSIGNAL), (ssize_t)part);
        at += part;
    }
}

/* One packet; type 0 when the other end has closed. */
static struct mq5_packet get(int fd, uint8_t *bytes, size_t capacity)
{
    struct mq5_packet packet = {0};
    size_t have = 0;
    uint32_t length = 0;
    while (have < capacity && (mq5_frame(bytes, have, 0, &length) != MQ5_OK || have < length)) {
        size_t want = length > have ? length - have : 1; /* never more than this packet */
        ssize_t got = recv(fd, bytes + have, want, 0);
        if (got <= 0)
            return packet;
        have += (size_t)got;
        length = 0;
    }
    assert_int_equal(mq5_decode(MQ5_V5, MQ5_FROM_SERVER, bytes, length, &packet, NULL), MQ5_OK);
    return packet;
}

static int log_in(int port, const char *client_id, bool byte_by_byte)
{
    uint8_t bytes[512];
    struct mq5_packet connect_packet = {.type = MQ5_CONNECT};
    connect_packet.connect =
        (struct mq5_connect){.version = MQ5_V5, .clean_start = true, .client_id = span_text(client_id)};
    int fd = connect_to(port);
    put(fd, &connect_packet, byte_by_byte);
    struct mq5_packet answer = get(fd, bytes, sizeof(bytes));
    assert_int_equal(answer.type, MQ5_CONNACK);
    assert_int_equal(answer.connack.reason, MQ5_SUCCESS);
    return fd;
}

static void subscribe_to(int fd, const char *filter, uint8_t qos)
{
    uint8_t bytes[512];
    struct mq5_subscription subscription = {.filter = span_text(filter), .qos = qos};
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE,
                                .subscribe = {.packet_id = 1, .list = &subscription, .count = 1}};
    put(fd, &packet, false);
    assert_int_equal(get(fd, bytes, sizeof(bytes)).type, MQ5_SUBACK);
}

static void conversation_byte_by_byte(void **state)
{
    struct running cloud;
    uint8_t bytes[1024];
    start(&cloud, NULL);
    int listener = log_in(cloud.doors.mqtt_port, "listener", false),
        talker = log_in(cloud.doors.mqtt_port, "talker", true);
    subscribe_to(listener, "a/+", 1);
    struct mq5_packet publish = {
        .type = MQ5_PUBLISH,
        .publish = {.qos = 1, .packet_id = 7, .topic = SPAN_LITERAL("a/b"), .payload = SPAN_LITERAL("hello")}};
    put(talker, &publish, true);
    struct mq5_packet got = get(listener, bytes, sizeof(bytes));
    assert_int_equal(got.type, MQ5_PUBLISH);
    assert_true(span_equal(got.publish.payload, SPAN_LITERAL("hello")));
    got = get(talker, bytes, sizeof(bytes));
    assert_int_equal(got.type, MQ5_PUBACK);
    assert_int_equal(got.ack.packet_id, 7);

    /* A link that does not begin with CONNECT is closed; the others live on. */
    int liar = connect_to(cloud.doors.mqtt_port);
    assert_int_equal(send(liar, "\x30\x03\0\1a", 5, MSG_NOSIGNAL), 5);
    while (recv(liar, bytes, sizeof(bytes), 0) > 0)
        ;
    close(liar);
    struct mq5_packet ping = {.type = MQ5_PINGREQ};
    put(talker, &ping, false);
    assert_int_equal(get(talker, bytes, sizeof(bytes)).type, MQ5_PINGRESP);

    double cpu_s = -1;
    cloud_serve_stop(cloud.pid, cloud.stop_fd, &cpu_s);
    assert_true(cpu_s >= 0);
    got = get(talker, bytes, sizeof(bytes));
    assert_int_equal(got.type, MQ5_DISCONNECT);
    assert_int_equal(got.disconnect.reason, MQ5_SERVER_SHUTTING_DOWN);
    assert_int_equal(get(talker, bytes, sizeof(bytes)).type, 0);
    close(talker);
    close(listener);
}

/* A subscriber that does not read is cut when too much waits for it; the publisher is not held up. */
static void slow_reader_is_cut(void **state)
{
    struct running cloud;
    static uint8_t payload[60000], bytes[1024];
    start(&cloud, NULL);
    int slow = log_in(cloud.doors.mqtt_port, "slow", false), talker = log_in(cloud.doors.mqtt_port, "talker", false);
    int watcher = log_in(cloud.doors.mqtt_port, "watcher", false);
    subscribe_to(slow, "flood", 0);
    subscribe_to(watcher, "$aws/events/presence/disconnected/slow", 0);
    uint8_t packet[sizeof(payload) + 64];
    struct mq5_packet publish = {
        .type = MQ5_PUBLISH,
        .publish = {.qos = 0, .topic = SPAN_LITERAL("flood"), .payload = {payload, sizeof(payload)}}};
    size_t length;
    assert_int_equal(mq5_encode(MQ5_V5, &publish, packet, sizeof(packet), &length), MQ5_OK);
    struct pollfd told = {.fd = watcher, .events = POLLIN};
    uint32_t sent = 0;
    for (; sent < 2000 && poll(&told, 1, 0) == 0; sent++) /* 120 MB at most: far more than sockets and the door hold */
        for (size_t at = 0; at < length;) {
            ssize_t wrote = send(talker, packet + at, length - at, MSG_NOSIGNAL);
            assert_true(wrote > 0);
            at += (size_t)wrote;
        }
    assert_int_equal(get(watcher, bytes, sizeof(bytes)).type, MQ5_PUBLISH);
    assert_true(sent < 2000);
    struct mq5_packet ping = {.type = MQ5_PINGREQ};
    put(talker, &ping, false);
    assert_int_equal(get(talker, bytes, sizeof(bytes)).type, MQ5_PINGRESP);
    close(slow);
    close(talker);
    close(watcher);
    cloud_serve_stop(cloud.pid, cloud.stop_fd, NULL);
}

static int taken_port;

static void use_taken_port(struct cloud_serve_options *options)
{
    options->mqtt_port = taken_port;
}

static void mistakes_are_one_line(void **state)
{
    char error[256] = "";
    struct cloud_serve_options options;
    struct running cloud;
    struct cloud_serve_doors doors;
    int stop_fd;
    start(&cloud, NULL);
    taken_port = cloud.doors.mqtt_port;
    cloud_serve_defaults(&options);
    options.pki_directory = directory;
    use_taken_port(&options);
    assert_int_equal(cloud_serve_start(&options, &doors, &stop_fd, error, sizeof(error)), -1);
    assert_non_null(strstr(error, "Address already in use"));
    assert_null(strchr(error, '\n'));
    options.mqtt_port = 0;
    options.address = "localhost";
    assert_int_equal(cloud_serve_start(&options, &doors, &stop_fd, error, sizeof(error)), -1);
    assert_non_null(strstr(error, "127.0.0.1"));
    options.address = "127.0.0.1";
    options.pki_directory = "/proc/nowhere";
    assert_int_equal(cloud_serve_start(&options, &doors, &stop_fd, error, sizeof(error)), -1);
    assert_non_null(strstr(error, "/proc/nowhere"));
    cloud_serve_stop(cloud.pid, cloud.stop_fd, NULL);
}

/* ---- a restart ------------------------------------------------------------------------------------------------------ */

static int orders[2]; /* ours, the cloud's */

static void on_order(void *context, struct cloud *cloud, int64_t now_us)
{
    char order;
    if (read(orders[1], &order, 1) == 1)
        cloud_serve_restart(cloud, 500 * US_PER_MS, order == 'k');
}

static void take_orders(struct cloud_serve_options *options)
{
    options->watch_fd = orders[1];
    options->readable = on_order;
}

/* Comes back as often as it is refused; counts that. */
static int come_back(int port, bool *session_present, uint32_t *refused)
{
    uint8_t bytes[512];
    struct sockaddr_in where = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct mq5_packet packet = {.type = MQ5_CONNECT};
    packet.connect = (struct mq5_connect){.version = MQ5_V5, .client_id = SPAN_LITERAL("faithful")};
    packet.connect.properties.present = MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
    packet.connect.properties.session_expiry_s = 600;
    for (int attempt = 0; attempt < 1000; attempt++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        if (connect(fd, (struct sockaddr *)&where, sizeof(where)) == 0) {
            put(fd, &packet, false);
            struct mq5_packet answer = get(fd, bytes, sizeof(bytes));
            assert_int_equal(answer.type, MQ5_CONNACK);
            *session_present = answer.connack.session_present;
            return fd;
        }
        assert_int_equal(errno, ECONNREFUSED);
        ++*refused;
        close(fd);
        poll(NULL, 0, 20);
    }
    fail_msg("nobody listens again");
    return -1;
}

static void expect_end(int fd)
{
    uint8_t bytes[16];
    assert_true(recv(fd, bytes, sizeof(bytes), 0) <= 0);
    close(fd);
}

static void restarts_on_order(void **state)
{
    struct running cloud;
    bool present = true;
    uint32_t refused = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, orders), 0);
    start(&cloud, take_orders);
    int client = come_back(cloud.doors.mqtt_port, &present, &refused);
    assert_false(present);
    assert_int_equal(refused, 0);
    assert_int_equal(send(orders[0], "k", 1, 0), 1);
    expect_end(client);
    client = come_back(cloud.doors.mqtt_port, &present, &refused);
    assert_true(present);
    assert_true(refused > 0);
    assert_int_equal(send(orders[0], "l", 1, 0), 1);
    expect_end(client);
    client = come_back(cloud.doors.mqtt_port, &present, &refused);
    assert_false(present);
    close(client);
    cloud_serve_stop(cloud.pid, cloud.stop_fd, NULL);
    close(orders[0]);
    close(orders[1]);
}

/* Dies with whoever started it, also when that one is killed. */
static void child_ends_with_its_parent(void **state)
{
    int pair[2];
    struct running cloud;
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    pid_t parent = fork();
    if (parent == 0) {
        start(&cloud, NULL);
        if (write(pair[1], &cloud.doors, sizeof(cloud.doors)) != sizeof(cloud.doors))
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(pair[0], &cloud.doors, sizeof(cloud.doors)), sizeof(cloud.doors));
    int client = log_in(cloud.doors.mqtt_port, "client", false);
    uint8_t bytes[512];
    kill(parent, SIGKILL);
    waitpid(parent, NULL, 0);
    struct mq5_packet got = get(client, bytes, sizeof(bytes)); /* returns only if the cloud ends */
    assert_int_equal(got.type, MQ5_DISCONNECT);
    close(client);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversation_byte_by_byte),  cmocka_unit_test(slow_reader_is_cut),
        cmocka_unit_test(mistakes_are_one_line),      cmocka_unit_test(restarts_on_order),
        cmocka_unit_test(child_ends_with_its_parent),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
