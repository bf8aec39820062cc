/* serve_paho_bus.c: the remote bus against a mosquitto of the test's own. */
#include "cloud/bus.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const char mosquitto_path[] = "/usr/sbin/mosquitto";

struct broker {
    int pid, port;
    char directory[64], uri[64];
};

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static bool accepts(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool ok = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return ok;
}

static void pause_ms(int milliseconds)
{
    nanosleep(&(struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000L}, NULL);
}

static void broker_start(struct broker *broker)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/mosquitto.conf", broker->directory);
    broker->pid = fork();
    if (broker->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* should this program end in a way that skips the teardown */
        if (!freopen("/dev/null", "w", stderr) || !freopen("/dev/null", "w", stdout))
            _exit(127);
        execl(mosquitto_path, mosquitto_path, "-c", path, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 1000 && !accepts(broker->port); i++)
        pause_ms(10);
    assert_true(accepts(broker->port));
}

static void broker_end(struct broker *broker)
{
    if (broker->pid > 0) {
        kill(broker->pid, SIGTERM);
        waitpid(broker->pid, NULL, 0);
    }
    broker->pid = 0;
}

static int setup(void **state)
{
    static struct broker broker;
    char path[96];
    *state = NULL;
    if (access(mosquitto_path, X_OK) != 0)
        return 0;
    snprintf(broker.directory, sizeof(broker.directory), "/tmp/convoy-bus-XXXXXX");
    assert_non_null(mkdtemp(broker.directory));
    broker.port = free_port();
    snprintf(broker.uri, sizeof(broker.uri), "mqtt://127.0.0.1:%d", broker.port);
    snprintf(path, sizeof(path), "%s/passwords", broker.directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    snprintf(path, sizeof(path), "%s/mosquitto.conf", broker.directory);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "user root\nper_listener_settings true\nlistener %d 127.0.0.1\nallow_anonymous true\npassword_file "
            "%s/passwords\n",
            broker.port, broker.directory);
    fclose(file);
    broker_start(&broker);
    *state = &broker;
    return 0;
}

static int teardown(void **state)
{
    struct broker *broker = *state;
    char path[96];
    if (!broker)
        return 0;
    broker_end(broker);
    snprintf(path, sizeof(path), "%s/mosquitto.conf", broker->directory);
    unlink(path);
    snprintf(path, sizeof(path), "%s/passwords", broker->directory);
    unlink(path);
    rmdir(broker->directory);
    return 0;
}

static struct broker *need(void **state)
{
    if (!*state) {
        print_message("mosquitto is not installed at %s: not tested\n", mosquitto_path);
        skip();
    }
    return *state;
}

/* What a handler has seen. */
struct seen {
    struct cloud_bus *bus; /* to answer on; NULL: only look */
    uint32_t count;
    int64_t at_us;
    bool retain;
    uint8_t qos;
    char topic[128], payload[128], response[64], correlation[64], content_type[64], user[128];
    uint32_t expiry_s;
};

static void copy_text(char *out, struct span text)
{
    if (text.length)
        memcpy(out, text.data, text.length);
    out[text.length] = 0;
}

static void look(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct seen *seen = context;
    const struct mq5_properties *properties = &message->properties;
    struct mq5_user_property user;
    uint32_t offset = 0;
    seen->count++;
    seen->at_us = now_us;
    seen->retain = message->retain;
    seen->qos = message->qos;
    copy_text(seen->topic, message->topic);
    copy_text(seen->payload, message->payload);
    copy_text(seen->response, properties->response_topic);
    copy_text(seen->correlation, properties->correlation_data);
    copy_text(seen->content_type, properties->content_type);
    seen->expiry_s = properties->message_expiry_s;
    seen->user[0] = 0;
    if (properties->present & MQ5_BIT(MQ5_USER_PROPERTY))
        while (mq5_user_property_next(properties->encoded, &offset, &user))
            snprintf(seen->user + strlen(seen->user), sizeof(seen->user) - strlen(seen->user), "%.*s=%.*s;",
                     (int)user.name.length, (const char *)user.name.data, (int)user.value.length,
                     (const char *)user.value.data);
    if (!seen->bus)
        return;
    struct mq5_publish answer = {.topic = properties->response_topic, .payload = SPAN_LITERAL("done"), .qos = 1};
    answer.properties.present = MQ5_BIT(MQ5_CORRELATION_DATA);
    answer.properties.correlation_data = properties->correlation_data;
    assert_int_equal(seen->bus->ops->publish(seen->bus, now_us, &answer), MQ5_SUCCESS);
}

static void woken(void *context)
{
    __atomic_add_fetch((uint32_t *)context, 1, __ATOMIC_SEQ_CST);
}

static uint32_t wakes;

static struct cloud_bus *open_bus(const struct broker *broker, const char *client_id)
{
    char error[400] = "";
    struct cloud_bus_remote_options options = {
        .uri = broker->uri, .client_id = client_id, .wake = woken, .wake_context = &wakes};
    struct cloud_bus *bus = cloud_bus_remote(&options, 20000, error, sizeof(error));
    if (!bus)
        fail_msg("%s", error);
    assert_true(cloud_bus_connected(bus));
    return bus;
}

/* Polls both until the count is there; half a minute is for machines that hang. */
static void poll_until(struct cloud_bus *a, struct cloud_bus *b, const uint32_t *count, uint32_t wanted)
{
    for (int i = 0; i < 3000 && *count < wanted; i++) {
        cloud_bus_poll(a);
        if (b)
            cloud_bus_poll(b);
        pause_ms(10);
    }
    assert_true(*count >= wanted);
}

static uint8_t subscribe(struct cloud_bus *bus, const char *filter, struct seen *seen)
{
    return bus->ops->subscribe(bus, 0, span_text(filter), 1, look, seen);
}

static void say(struct cloud_bus *bus, const char *topic, const char *payload, bool retain)
{
    struct mq5_publish message = {.topic = span_text(topic), .payload = span_text(payload), .qos = 1, .retain = retain};
    assert_int_equal(bus->ops->publish(bus, 0, &message), MQ5_SUCCESS);
}

static int64_t monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

static void carries_all_properties(void **state)
{
    struct cloud_bus *bus = open_bus(need(state), "bus-properties");
    struct seen seen = {0};
    struct mq5_user_property user[] = {{SPAN_LITERAL("fw"), SPAN_LITERAL("1.2")},
                                       {SPAN_LITERAL("fw"), SPAN_LITERAL("")}};
    /* As received: a block to be forwarded after the list. */
    static const uint8_t block[] = {MQ5_USER_PROPERTY, 0, 1, 'a', 0, 1, 'b'};
    struct mq5_publish message = {.topic = SPAN_LITERAL("dt/v1/telemetry"), .payload = SPAN_LITERAL("{}"), .qos = 1};
    message.properties =
        (struct mq5_properties){.present = MQ5_BIT(MQ5_USER_PROPERTY) | MQ5_BIT(MQ5_CONTENT_TYPE) |
                                           MQ5_BIT(MQ5_RESPONSE_TOPIC) | MQ5_BIT(MQ5_CORRELATION_DATA) |
                                           MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL) | MQ5_BIT(MQ5_PAYLOAD_FORMAT_INDICATOR),
                                .payload_format = 1,
                                .message_expiry_s = 300000,
                                .content_type = SPAN_LITERAL("application/json"),
                                .response_topic = SPAN_LITERAL("back/here"),
                                .correlation_data = SPAN_LITERAL("c-17"),
                                .user = user,
                                .user_count = 2,
                                .encoded = span_of(block, sizeof(block))};
    assert_int_equal(subscribe(bus, "dt/+/telemetry", &seen), MQ5_GRANTED_QOS_1);
    int64_t before_us = monotonic_us();
    assert_int_equal(bus->ops->publish(bus, 0, &message), MQ5_SUCCESS);
    poll_until(bus, NULL, &seen.count, 1);
    assert_in_range(seen.at_us, before_us, monotonic_us());
    assert_int_equal(seen.qos, 1);
    assert_string_equal(seen.topic, "dt/v1/telemetry");
    assert_string_equal(seen.payload, "{}");
    assert_string_equal(seen.content_type, "application/json");
    assert_string_equal(seen.response, "back/here");
    assert_string_equal(seen.correlation, "c-17");
    assert_string_equal(seen.user, "fw=1.2;fw=;a=b;");
    assert_int_equal(seen.expiry_s, 300000);
    assert_true(__atomic_load_n(&wakes, __ATOMIC_SEQ_CST) > 0);
    bus->ops->close(bus);
}

static void requests_and_responses(void **state)
{
    struct cloud_bus *asker = open_bus(need(state), "bus-asker"), *server = open_bus(need(state), "bus-server");
    struct seen request = {.bus = server}, answer = {0};
    struct mq5_publish message = {.topic = SPAN_LITERAL("cmd/v1/request"), .payload = SPAN_LITERAL("unlock"), .qos = 1};
    message.properties.present = MQ5_BIT(MQ5_RESPONSE_TOPIC) | MQ5_BIT(MQ5_CORRELATION_DATA);
    message.properties.response_topic = SPAN_LITERAL("cmd/v1/response");
    message.properties.correlation_data = SPAN_LITERAL("n-1");
    assert_int_equal(subscribe(server, "cmd/+/request", &request), MQ5_GRANTED_QOS_1);
    assert_int_equal(subscribe(asker, "cmd/+/response", &answer), MQ5_GRANTED_QOS_1);
    assert_int_equal(asker->ops->publish(asker, 0, &message), MQ5_SUCCESS);
    poll_until(asker, server, &answer.count, 1);
    assert_string_equal(request.payload, "unlock");
    assert_string_equal(answer.payload, "done");
    assert_string_equal(answer.correlation, "n-1");
    asker->ops->close(asker);
    server->ops->close(server);
}

static void shares_and_overlaps_and_retained(void **state)
{
    struct cloud_bus *a = open_bus(need(state), "bus-a"), *b = open_bus(need(state), "bus-b");
    struct seen shared_a = {0}, shared_b = {0}, exact = {0}, wild = {0}, same = {0}, retained = {0};
    assert_int_equal(subscribe(a, "$share/g/s/#", &shared_a), MQ5_GRANTED_QOS_1);
    assert_int_equal(subscribe(b, "$share/g/s/#", &shared_b), MQ5_GRANTED_QOS_1);
    assert_int_equal(subscribe(a, "s/x", &exact), MQ5_GRANTED_QOS_1);
    assert_int_equal(subscribe(a, "s/+", &wild), MQ5_GRANTED_QOS_1);
    assert_int_equal(subscribe(a, "s/+", &same), MQ5_GRANTED_QOS_1); /* two services with the same filter */
    for (int i = 0; i < 10; i++)
        say(b, "s/x", "one", false);
    say(b, "s/end", "r", true);
    poll_until(a, b, &wild.count, 11);
    poll_until(a, b, &exact.count, 10);
    for (int i = 0; i < 3000 && shared_a.count + shared_b.count < 11; i++) {
        cloud_bus_poll(a);
        cloud_bus_poll(b);
        pause_ms(10);
    }
    assert_int_equal(shared_a.count + shared_b.count, 11);
    assert_int_equal(exact.count, 10);
    assert_int_equal(wild.count, 11);
    assert_int_equal(same.count, 11);
    assert_int_equal(subscribe(b, "s/end", &retained), MQ5_GRANTED_QOS_1);
    poll_until(a, b, &retained.count, 1);
    assert_true(retained.retain);
    assert_string_equal(retained.payload, "r");
    say(b, "s/end", "", true);
    struct cloud_bus_counts counts;
    cloud_bus_count(b, &counts);
    assert_int_equal(counts.published, 12);
    assert_int_equal(counts.publish_failed, 0);
    assert_int_equal(counts.overflowed, 0);
    a->ops->close(a);
    b->ops->close(b);
}

static void comes_back_and_subscribes_again(void **state)
{
    struct broker *broker = need(state);
    struct cloud_bus *bus = open_bus(broker, "bus-back");
    struct seen seen = {0};
    struct cloud_bus_counts counts = {0};
    assert_int_equal(subscribe(bus, "r/#", &seen), MQ5_GRANTED_QOS_1);
    broker_end(broker);
    for (int i = 0; i < 3000 && cloud_bus_connected(bus); i++)
        pause_ms(10);
    assert_false(cloud_bus_connected(bus));
    broker_start(broker); /* without memory: the session is gone */
    for (int i = 0; i < 3000 && counts.reconnects == 0; i++) {
        cloud_bus_count(bus, &counts);
        pause_ms(10);
    }
    assert_int_equal(counts.reconnects, 1);
    assert_true(cloud_bus_connected(bus));
    /* The SUBSCRIBE left before anything published now. */
    say(bus, "r/1", "back", false);
    poll_until(bus, NULL, &seen.count, 1);
    assert_string_equal(seen.payload, "back");
    bus->ops->close(bus);
}

static void refuses_what_is_no_topic(void **state)
{
    struct cloud_bus *bus = open_bus(need(state), "bus-invalid");
    struct mq5_publish message = {.topic = SPAN_LITERAL("a/#"), .qos = 0};
    assert_int_equal(bus->ops->publish(bus, 0, &message), MQ5_TOPIC_NAME_INVALID);
    assert_int_equal(subscribe(bus, "a/#/b", &(struct seen){0}), MQ5_TOPIC_FILTER_INVALID);
    bus->ops->close(bus);
}

static void no_connection(const char *uri, const char *user, const char *ca, const char *expected)
{
    char error[400] = "";
    struct cloud_bus_remote_options options = {
        .uri = uri, .client_id = "bus-none", .user_name = user, .password = user ? "wrong" : NULL, .ca_file = ca};
    assert_null(cloud_bus_remote(&options, 10000, error, sizeof(error)));
    if (!strstr(error, expected))
        fail_msg("expected '%s' in '%s'", expected, error);
    assert_null(strchr(error, '\n'));
}

static void says_why_there_is_no_connection(void **state)
{
    struct broker *broker = need(state);
    char uri[64];
    snprintf(uri, sizeof(uri), "mqtt://127.0.0.1:%d", free_port());
    no_connection(uri, NULL, NULL, "Connection refused");
    no_connection("mqtt://no-such-host.invalid:1883", NULL, NULL, "cannot resolve the name");
    no_connection("http://127.0.0.1", NULL, NULL, "write mqtt://HOST:PORT");
    no_connection("mqtt://127.0.0.1:0", NULL, NULL, "write mqtt://HOST:PORT");
    no_connection(broker->uri, NULL, "/nowhere/ca.pem", "cannot read the CA file");
    no_connection(broker->uri, "somebody", NULL, "refuses the connection: Not authorized");
    snprintf(uri, sizeof(uri), "mqtts://127.0.0.1:%d", broker->port);
    no_connection(uri, NULL, NULL, "TLS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_all_properties),           cmocka_unit_test(requests_and_responses),
        cmocka_unit_test(shares_and_overlaps_and_retained), cmocka_unit_test(comes_back_and_subscribes_again),
        cmocka_unit_test(refuses_what_is_no_topic),         cmocka_unit_test(says_why_there_is_no_connection),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
