/* live.h: the live world's own structures. One thread, one epoll loop: a vehicle is a socket, an SSL and an agent; everything that is
 * due hangs in one queue on absolute times, woken by one timerfd. World time is CLOCK_MONOTONIC microseconds since the run began.
 *
 * A fleet may be shared out over the processes of a group: vehicle v lives in process v % size, at place v / size of its `vehicles`.
 * Each process has brokers and services of its own (or its part of them) and a loop of its own; they meet before and after the run, never in it.
 *
 * Two rules keep the agents safe. The agent is never called from inside one of its own port calls: what such a call sets off waits in a line, or in
 * the queue as a step. And whoever calls an agent in a loop over a link looks at `attempts` afterwards: it counts up when the link is no longer that link.
 */
#ifndef WORLDS_LIVE_H
#define WORLDS_LIVE_H

#include "fleet_identity.h"
#include "fleet_network.h"
#include "fleet_remote.h"
#include "fleet_shadow.h"

#include "cloud/identity_store.h"
#include "cloud/serve.h"
#include "sim/engine.h"
#include "sim/group.h"

#include <curl/curl.h>
#include <ev.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>

enum live_class { LIVE_AGENT, LIVE_LIFE, LIVE_STEP, LIVE_COMMANDS, LIVE_TIMELINE, LIVE_IDENTITY, LIVE_RADIO };

enum live_step_kind {
    LIVE_POWER_UP,
    LIVE_LINK_FAILED,
    LIVE_LINK_BROKEN,
    LIVE_HTTP_FAILED,
    LIVE_EXECUTED,
    LIVE_POWER_DIED,
    LIVE_POWER_BACK,
    LIVE_RESOLVE_FAILED,
    LIVE_SMS,
    LIVE_BATTERY,
    LIVE_SHADOW,    /* settings are changed, by users or in the car */
    LIVE_LINK_TOLD, /* live_radio.c's: how an attempt has ended */
    LIVE_LINK_RESET,
    LIVE_HTTP_SENT,
    LIVE_HTTP_ANSWERED,
    LIVE_TURN, /* live_regions.c's; slot: the broker it goes to */
    LIVE_SETTLED,
    LIVE_SEND_HOME,
    LIVE_ARRIVE, /* slot: where; and whether its home goes along */
    LIVE_SERVICE
};
struct live_step { /* something a vehicle waits for */
    struct live_step *next;
    int64_t at_us;
    enum live_step_kind kind;
    uint32_t slot; /* attempt, request or execution slot */
    uint32_t length;
    uint8_t data[]; /* an SMS */
};

enum live_stage {
    STAGE_NONE,
    STAGE_WAITING,
    STAGE_RESOLVING,
    STAGE_TCP,
    STAGE_TLS,
    STAGE_READY,
    STAGE_UP
}; /* READY: up, and the agent not told yet */
enum live_phase { LIVE_RESOLVE, LIVE_TCP, LIVE_TLS, LIVE_PHASES };

struct live_buffer { /* what the socket would not take yet */
    uint32_t sent, length, capacity;
    uint8_t data[];
};

struct live_vehicle {
    ev_io watcher; /* fd -1: no socket */
    struct live_world *world;
    struct tcu *tcu;
    SSL *ssl;
    struct live_buffer *unsent;
    struct live_step *steps;
    struct sim_deadline agent, life;
    struct fleet_trace trace;
    struct fleet_life day;
    int64_t planned_us; /* the agent's deadline as it asked for it */
    int64_t phase_us;   /* when the stage of the link began */
    uint8_t *stored[TCU_STORE_ITEMS];
    uint16_t stored_length[TCU_STORE_ITEMS];
    uint32_t index;    /* in the whole fleet */
    uint32_t attempts; /* links asked for or let go of */
    uint32_t requests; /* at the certificate broker, asked for or given up */
    uint32_t agent_draws;
    uint16_t faults, executed;
    uint8_t stage, broker;
    uint8_t shown;      /* enum tcu_identity of the link */
    uint8_t fresh_slot; /* ... the fresh key is for */
    uint8_t moves;      /* to another address */
    bool covered, wrote, counted;
};

/* Where the scenario looks after identities: a vehicle's. */
struct live_identity {
    struct fleet_identity fleet;
    uint8_t *removed_certificate, *removed_key; /* went with its TCU */
    uint16_t removed_certificate_length, removed_key_length;
};
/* What was good until another took its place. */
#define LIVE_KNOCKS 1000
struct live_replaced {
    uint32_t place;
    uint16_t certificate_length, key_length;
    uint8_t *bytes; /* certificate, key */
};
struct live_shown { /* in a handshake; DER */
    struct span certificate, key;
};

/* The cloud's end of identities: used in its process, on its copy. */
struct live_child {
    const struct scenario *scenario;
    struct fleet_identity_hooks hooks;
    struct cloud_lifecycle_options options;
    uint32_t instances, number; /* serves the vehicles that are equal to `number` modulo `instances` */
    int64_t epoch_us;
    uint8_t *devices; /* TCUs each of them has had before, in seven bits */
    int fd;
    struct live_guest { /* whose home is where; former: it was here */
        uint8_t home;
        bool former;
    } * guests; /* of this process's, by place; NULL: the name of the endpoint is not resolved */
    uint32_t rank, ranks;
    uint16_t down; /* regions, as the health checks say */
    uint8_t region;
};
struct live_holding { /* what a region's cloud has of a vehicle; that process's answer */
    uint32_t vehicle;
    uint8_t kinds; /* bits of enum cloud_data_kind */
    bool last;     /* of all of them: this is no vehicle */
};

enum live_order_kind {
    LIVE_ORDER_ACT,
    LIVE_ORDER_VERIFY,
    LIVE_ORDER_RESTART,
    LIVE_ORDER_KNOW,
    LIVE_ORDER_REDIRECT,
    LIVE_ORDER_FORGET,
    LIVE_ORDER_EXECUTE,
    LIVE_ORDER_HOME, /* from here on: a region's */
    LIVE_ORDER_CLEAN,
    LIVE_ORDER_HOLDINGS,
    LIVE_ORDER_REGION_DOWN,
    LIVE_ORDER_REGION_UP
};
#define LIVE_PAYLOAD_MAX 512
struct live_execution { /* of the commands feature: to be started, or its request sent again */
    char thing[SCENARIO_NAME + 16], command[64], id[24];
    uint8_t payload[LIVE_PAYLOAD_MAX];
    uint32_t payload_length;
    int64_t timeout_us;
    bool again;
};
struct live_order { /* to a cloud */
    enum live_order_kind kind;
    int64_t due_us;          /* who has had power by then is meant */
    double speedup, stretch; /* of power-ups */
    struct world_action action;
    uint8_t kinds;               /* CLEAN */
    bool former;                 /* HOME: it was that region's */
    bool for_good;               /* REDIRECT */
    uint16_t certificate_length; /* KNOW */
    uint8_t certificate[1024];
    struct live_execution execution;
};

/* A place in a line: valid as long as the vehicle's counter has not moved on. */
enum live_purpose { FOR_LINK, FOR_KEY, FOR_REQUEST };
struct live_ticket {
    uint32_t place, serial; /* vehicle's */
    enum live_purpose purpose;
    struct live_request *request;
};
struct live_line {
    struct live_ticket *tickets;
    uint32_t first, count, capacity;
};

/* A socket the vehicle has let go of: read and forgotten until the broker closes it or its time is over. */
struct live_ghost {
    ev_io watcher;
    struct live_world *world;
    struct live_ghost *next, **place;
    int64_t until_us;
    const struct live_vehicle *lost_by; /* the broker takes it for connected; NULL: it knows better */
    bool greeted;                       /* ... as far as the vehicle knows: it had its CONNACK */
};

/* Where links of one kind of identity go. */
struct live_door {
    bool offered, tls, literal;
    char host[128], service[8];
    uint16_t port;
    struct sockaddr_storage address; /* when the host is a literal */
    socklen_t address_length;
    struct live_line waiting; /* for the resolver's next answer */
    bool asked;
};

struct live_bus { /* a remote bus whose handlers see world time */
    struct cloud_bus bus;
    struct cloud_bus *remote;
    bool wire; /* live_wire.c's; else Paho's */
    bool
        desk; /* of remote commands: what comes when the books are closed is too late, and what is to be lost gets lost */
    bool reserved; /* of shadows and executions: what is to be lost gets lost */
    struct live_world *world;
    struct live_handler {
        struct live_bus *bus;
        cloud_bus_handler *handler;
        void *context;
    } handlers[4];
    uint32_t handler_count;
};

#define LIVE_IDENTITIES 3 /* enum scenario_identity */
#define LIVE_BUSES      20
struct live_plain;
struct live_broker {
    const char *uri;
    bool embedded;
    uint32_t number;  /* among all brokers of the run */
    uint32_t sharers; /* processes whose vehicles connect to it */
    bool leads;       /* this process hears of presence there */
    pid_t pid;        /* embedded: its process; -1: none */
    int stop_fd;
    struct cloud_serve_doors served;
    char registry_path[600];
    struct live_activation {
        const struct scenario *scenario;
        struct sim_random random;
    } activation; /* used in the child, on its copy */
    struct live_child child;
    struct live_plain *plain; /* somebody else's broker: what looks after identities there; NULL: nothing does */
    int news_fd;              /* -1: none */
    ev_io news;
    struct live_world *news_world; /* NULL: not listening */
    struct live_door doors[LIVE_IDENTITIES];
    char service_uri[160];
    struct live_bus buses[LIVE_BUSES];
    uint32_t bus_count;
    struct cloud_commands *commands;
    struct fleet_orders orders;   /* remote == NULL: commands go through `commands` */
    struct live_shadows *shadows; /* NULL: cars have no settings */
    struct cloud_profile watched; /* the world's, with the run's topics */
};

struct live_resolver {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool running, ending;
    struct live_door *asked[WORLD_BROKERS * LIVE_IDENTITIES], *answered[WORLD_BROKERS * LIVE_IDENTITIES];
    uint32_t asked_count, answered_count;
    struct sockaddr_storage addresses[WORLD_BROKERS * LIVE_IDENTITIES];
    socklen_t address_lengths[WORLD_BROKERS * LIVE_IDENTITIES];
};

struct live_request { /* to the certificate broker */
    struct live_world *world;
    struct live_request *next, **place; /* those under way */
    CURL *easy;
    struct curl_slist *headers;
    uint32_t vehicle, serial;   /* its place */
    uint8_t *certificate, *key; /* attestation */
    size_t certificate_length, key_length;
    char *body;
    uint8_t *answer;
    size_t answer_length;
};

struct live_world {
    struct fleet fleet;
    const struct scenario *scenario;
    const struct world_options *options;
    struct world_result *result;
    struct world_actions actions;
    int64_t start_us;        /* CLOCK_MONOTONIC at world time 0 */
    int64_t duration_us;     /* of the run: the scenario's by the speedup */
    int64_t now_us, ran_us;  /* ran_us: when what is due had its turn last */
    struct sim_group *group; /* NULL: alone */
    uint32_t rank, ranks;
    uint32_t count; /* of vehicles in this process */
    struct live_vehicle *vehicles;
    uint8_t *agents;
    uint32_t agent_stride;
    struct sim_queue *queue;
    int64_t *timeline_us; /* next, by entry, in scenario time */
    struct sim_deadline commands_deadline, identity_deadline;
    struct live_vehicle *hooked; /* the vehicle whose event a script is handling */
    int64_t outage_until_us, resolver_until_us, certificate_until_us;
    int64_t acting_us; /* when what the timeline does was due */

    struct ev_loop *loop;
    ev_prepare prepare;
    ev_io timer_watcher;
    ev_timer housekeeping;
    ev_async bus_wake, resolver_wake;
    int timer_fd;
    int64_t armed_us;

    struct live_broker brokers[WORLD_BROKERS];
    uint32_t broker_count;
    enum scenario_identity *identity;              /* in effect, by cohort */
    char run_id[16], topic_prefix[32], events[64]; /* events: what topics of the services' events begin with */
    const struct cloud_profile *profile;
    struct live_resolver resolver;
    SSL_CTX *tls;
    struct cloud_pki *pki;
    char pki_directory[512];
    char service_certificate[600], service_key[600]; /* "" none */
    bool made_service_files;
    char stop_path[600]; /* a file that tells the other processes to end early; "": alone */
    bool stop_made;
    int64_t stop_looked_us, delivered_us;

    struct live_line line, keys; /* for admission; for key pairs */
    double tokens, rate;
    int64_t tokens_us;
    uint32_t under_way, at_once;
    int64_t longest_wait_us;
    double stretch; /* of the power-ups, so that they keep to the rate */
    uint32_t source_addresses;

    CURLM *curl;
    struct live_request *requests;
    ev_timer curl_timer;
    X509_STORE *trust;

    struct cloud_identity_store **factories; /* by cohort, while vehicles are made; NULL: kept nowhere */
    uint64_t factory_made;
    bool factory_revoked; /* some that were made have been revoked since */
    int64_t factory_us;
    struct live_identity *lives;    /* by place; NULL: nobody looks after identities */
    struct live_messages *messages; /* NULL: no processors { }, no notices */
    struct fleet_parking *parkings; /* by place; NULL: nothing of it in this scenario */
    struct fleet_shadow *shadows;   /* by place; NULL: cars have no settings */
    struct live_radio *radios;      /* by place; NULL: no link model */
    struct fleet_network *networks; /* by place; NULL: nothing of it in this scenario */
    struct live_regions *regions;   /* NULL: nobody goes from one broker to another */
    struct tcu_port port;           /* live_port, and what this scenario needs beyond it */
    struct live_replaced *replaced; /* LIVE_KNOCKS of them at most, of all processes */
    uint32_t replaced_kept;
    uint64_t replaced_seen;
    uint8_t claim_certificate[2048], claim_key[256];
    size_t claim_certificate_length, claim_key_length;

    struct live_ghost *ghosts;
    uint32_t ghost_count;
    uint8_t *input;
    bool running, draining, closing, interrupted, out_of_memory, script_failed;
    uint64_t packets, wire_bytes, tls_failures, resolve_failures, tcp_failures;
    char first_tls_failure[160];
    struct {
        double started, shown;
        int64_t shown_us;
        uint64_t publishes, commands;
    } progress;
};

int64_t live_clock(void);                 /* CLOCK_MONOTONIC, microseconds */
void live_tick(struct live_world *world); /* brings now_us up to date; before anything that happens */
void live_note(struct world_result *result, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool live_fail(struct live_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* false, for returning */

/* live.c */
void live_schedule_bytes(struct live_vehicle *vehicle, enum live_step_kind kind, int64_t at_us, struct span bytes);
void live_schedule(struct live_vehicle *vehicle, enum live_step_kind kind, int64_t at_us, uint32_t slot);
void live_commands_touched(struct live_world *world);
int64_t live_power_up_us(const struct live_world *world, uint32_t vehicle); /* any of the fleet */

/* live_result.c: what a run says of itself. */
void live_weigh(struct live_world *world);
void live_judge_lag(struct live_world *world); /* a rig that was late has nothing to say of the broker */
void live_note_troubles(struct live_world *world);

/* live_link.c: sockets and TLS. */
#define LIVE_INPUT_BYTES 20480 /* more than a TLS record holds */
void live_link_init(struct live_vehicle *vehicle);
void live_link_open(struct live_vehicle *vehicle);
void live_link_send(struct live_vehicle *vehicle, const uint8_t *data, size_t length);
void live_link_close(struct live_vehicle *vehicle, bool abort);
void live_link_broken(struct live_vehicle *vehicle); /* the step of a failed write */
void live_link_lost(struct live_vehicle *vehicle);   /* the radio goes: the vehicle notices, the broker does not */
void live_link_start(struct live_vehicle *vehicle);  /* admitted */
void live_link_resolved(struct live_vehicle *vehicle, const struct sockaddr_storage *address,
                        socklen_t length); /* length 0: no such name */
void live_link_failed(struct live_vehicle *vehicle, enum tcu_link_end why);
/* The connection is dead, and nobody is told: its socket becomes a ghost, and the agent sends into nothing. resets (with a link model): the network
 * answers that with a reset. false: there was no connection. */
bool live_link_kill(struct live_vehicle *vehicle, bool resets);
/* For live_radio.c. */
void live_link_up(struct live_vehicle *vehicle); /* the agent is told */
void live_link_cut(struct live_vehicle *vehicle);
int live_link_detach(struct live_vehicle *vehicle); /* takes the socket away from the vehicle; -1: there was none */
void live_link_deliver(struct live_vehicle *vehicle, const uint8_t *data, size_t length);
void live_link_pause(struct live_vehicle *vehicle); /* what there is to be read waits in the socket */
void live_link_resume(struct live_vehicle *vehicle);
ssize_t live_socket_write(SSL *ssl, int fd, const uint8_t *data, size_t length); /* 0: full; -1: broken */
void live_socket_cut(int fd);
/* lost_by: the broker takes it for connected; NULL: nobody. */
void live_ghost_leave(struct live_world *world, int fd, int64_t until_us, const struct live_vehicle *lost_by);
void live_ghosts_sweep(struct live_world *world, int64_t now_us);
bool live_tls_create(struct live_world *world, const char *ca_file);

/* live_radio.c: the link model; but for the first four only with world->radios. */
bool live_radio_start(struct live_world *world); /* before the vehicles; *radios stays NULL where none is wanted */
void live_radio_stop(struct live_world *world);  /* what is under way up goes to the sockets at once */
size_t live_radio_bytes(void);                   /* a vehicle */
int64_t live_reachable_us(const struct live_vehicle *vehicle, int64_t now_us); /* by the network; TIME_NEVER */
bool live_radio_open(struct live_vehicle *vehicle, uint8_t tls); /* draws; false: it fails, and the step is under way */
void live_radio_phase(struct live_vehicle *vehicle, enum live_phase phase, int64_t took_us);
void live_radio_ready(struct live_vehicle *vehicle);
void live_radio_refused(struct live_vehicle *vehicle, enum live_phase last, enum tcu_link_end why);
void live_radio_told(struct live_vehicle *vehicle);
void live_radio_send(struct live_vehicle *vehicle, const uint8_t *data, size_t length);
bool live_radio_received(struct live_vehicle *vehicle, const uint8_t *data, size_t length); /* false: no more now */
void live_radio_ended(struct live_vehicle *vehicle, enum tcu_link_end why);
void live_radio_due(struct live_vehicle *vehicle, int64_t due_us);
void live_radio_close(struct live_vehicle *vehicle, bool abort); /* of an open link */
/* takes SSL and socket, which become a ghost */
void live_radio_abandon(struct live_vehicle *vehicle, SSL *ssl, int fd, int64_t until_us, bool resets);
void live_radio_forget(struct live_vehicle *vehicle);
void live_radio_lost(struct live_vehicle *vehicle);
void live_radio_stand_still(struct live_vehicle *vehicle, int64_t until_us);
void live_radio_request(struct live_vehicle *vehicle, struct live_request *request); /* takes it */
bool live_radio_ends(const struct live_vehicle *vehicle); /* a good-bye of its is still under way */
void live_radio_sent(struct live_vehicle *vehicle);
/* length: of the body that came. */
void live_radio_answer(struct live_vehicle *vehicle, int status, struct span certificate, size_t length);
void live_radio_answered(struct live_vehicle *vehicle);

/* live_network.c: what networks do to connections. */
bool live_network_start(struct live_world *world); /* before the vehicles */
void live_network_ignition(struct live_vehicle *vehicle, bool on);
int64_t live_network_next(const struct live_vehicle *vehicle);
void live_network_step(struct live_vehicle *vehicle); /* what is due */
void live_link_dies(struct live_vehicle *vehicle, bool new_address);
/* It was silent for too long; then it is dead from here on. */
bool live_network_forgets(struct live_vehicle *vehicle, const struct link_state *radio);
/* The vehicle lets go of its connection: because it found out that it is dead, or for another reason. */
void live_network_found(struct live_vehicle *vehicle, bool found);
void live_network_silent(struct live_vehicle *vehicle); /* the broker tells it that its keep alive is over */

/* live_admit.c: lines, tokens, the resolver. */
bool live_line_push(struct live_world *world, struct live_line *line, struct live_ticket ticket);
bool live_line_pop(struct live_line *line, struct live_ticket *ticket);
void live_admit(struct live_world *world);
int64_t live_admit_next(const struct live_world *world); /* when somebody could be admitted; TIME_NEVER */
void live_admit_done(struct live_world *world);          /* one less under way */
bool live_resolver_start(struct live_world *world);
void live_resolver_stop(struct live_world *world);
void live_resolve(struct live_vehicle *vehicle, struct live_door *door);

/* live_port.c: what the agent asks for, and identities. */
extern const struct tcu_port live_port;
void live_key_make(struct live_vehicle *vehicle);
bool live_http_create(struct live_world *world);
void live_http_destroy(struct live_world *world);
void live_http_start(struct live_request *request);
void live_http_release(struct live_request *request);

/* live_cloud.c: brokers. */
bool live_cloud_start(struct live_world *world); /* child processes, doors, identities; before threads; collective */
void live_cloud_stop(struct live_world *world);
void live_cloud_passwords(const struct live_world *world, struct cloud_options *options);

struct live_wire_member;
/* live_services.c: what attaches to the brokers. */
bool live_services_start(struct live_world *world); /* probes the brokers, attaches processors and command services */
/* A connection of the services' kind; NULL: a line in the result's error, or nothing when nobody waits for it. */
struct cloud_bus *live_services_member(struct live_world *world, struct live_broker *broker, const char *service,
                                       const struct live_wire_member *member);
void live_services_poll(struct live_world *world);
void live_services_stop(struct live_world *world);
void live_presence_clear(struct live_world *world); /* takes this run's retained messages off somebody else's broker */

/* live_wire.c: a bus on the world's loop, to a door in clear. */
struct cloud_bus *live_wire_connect(struct live_world *world, const struct live_door *door,
                                    const struct cloud_bus_remote_options *options);
uint64_t live_wire_reconnects(const struct cloud_bus *bus);
/* One whose owner acknowledges in its own time, and which dies and comes back when it is told to. */
struct live_wire_member {
    uint32_t session_s; /* kept by the broker beyond a connection */
    const char *filter; /* NULL: none */
    cloud_bus_handler *handler;
    void (*lost)(void *context); /* the connection went: what is not acknowledged comes again, or to somebody else */
    void *context;
    bool wait; /* until it is connected and subscribed; else that comes about by itself */
};
struct cloud_bus *live_wire_member(struct live_world *world, const struct live_door *door,
                                   const struct cloud_bus_remote_options *options,
                                   const struct live_wire_member *member);
void live_wire_acknowledge(struct cloud_bus *bus, uint16_t packet_id);
void live_wire_unsubscribe(struct cloud_bus *bus); /* what is on its way still comes */
void live_wire_cut(struct cloud_bus *bus);         /* without a word, until it is revived */
void live_wire_revive(struct cloud_bus *bus);

/* live_messages.c: processors { } and notices. */
bool live_messages_prepare(struct live_world *world); /* before services and vehicles */
uint32_t live_messages_buses(const struct live_world *world);
bool live_messages_start(struct live_world *world, struct live_broker *broker, struct live_bus *buses);
void live_messages_begin(struct live_world *world);
int64_t live_messages_next(const struct live_world *world);
void live_messages_tick(struct live_world *world);
int64_t live_messages_act(struct live_world *world, const struct world_action *action, const char **why);
void live_messages_finish(struct live_world *world, int64_t end_us); /* before the vehicles' books are closed */
void live_messages_clear(struct live_world *world);
void live_messages_stop(struct live_world *world);

/* live_shadow.c: shadow { }. */
bool live_shadow_prepare(struct live_world *world); /* before services and vehicles */
uint32_t live_shadow_buses(const struct live_world *world, const struct live_broker *broker);
bool live_shadow_start(struct live_world *world, struct live_broker *broker, struct live_bus *buses);
int64_t live_shadow_next(const struct live_world *world);
void live_shadow_tick(struct live_world *world);
/* Commands as executions: how a desk reaches that service; in the cloud's process. */
int live_execute(struct fleet_orders *orders, int64_t now_us, const struct cloud_remote_execution *execution);
void live_child_execute(struct cloud *cloud, int64_t now_us, const struct live_execution *execution);
void live_shadow_begin(struct live_world *world); /* time begins */
void live_shadow_stop(struct live_broker *broker);
void live_shadow_due(struct live_vehicle *vehicle);
void live_shadow_set(void *vehicle, struct span wanted);
size_t live_shadow_state(void *vehicle, char *out, size_t capacity);
void live_shadow_finish(struct live_world *world, int64_t end_us);
bool live_shadow_loses(const struct scenario *scenario); /* answers of some cars in reserved topics */
/* On somebody else's broker: is the request one of these? In our own cloud they get lost at its door. */
bool live_shadow_lost(const struct live_bus *bus, const struct mq5_publish *message);
void live_shadow_child_opened(struct live_child *child, struct cloud *cloud);

/* live_remote.c: remote commands, parked cars, troubles of brokers. */
bool live_remote_prepare(struct live_world *world); /* before services and vehicles */
bool live_remote_watches(const struct live_world *world);
bool live_remote_start(struct live_world *world, struct live_broker *broker, struct live_bus *watch,
                       struct live_bus *desk);
bool live_remote_open(struct live_world *world, struct live_broker *broker, struct cloud_bus *watch,
                      struct cloud_bus *desk);
/* The broker whose desk a vehicle's commands go through. */
struct live_broker *live_desk_of(const struct live_vehicle *vehicle);
void live_remote_stop(struct live_broker *broker);
void live_remote_close(struct live_world *world); /* the books; the loop may turn meanwhile */
bool live_remote_lost(const struct live_bus *bus, const struct mq5_publish *message);
size_t live_unseal(void *vehicle, struct span sealed, uint8_t *out, size_t capacity, enum tcu_refusal *why);
void live_ask(struct live_vehicle *vehicle, uint16_t app, const char *command, int64_t timeout_us);
void live_sms(struct live_vehicle *vehicle, struct span text);
void live_parked_at_start(struct live_vehicle *vehicle);
void live_ignition(struct live_vehicle *vehicle, bool on);
void live_coverage(struct live_vehicle *vehicle, bool covered);
void live_battery(struct live_vehicle *vehicle);
void live_battery_used(struct live_vehicle *vehicle, int64_t now_us, size_t bytes);
void live_cut_at_broker(struct live_vehicle *vehicle); /* of a node that is lost: its end is gone, too */
int64_t live_trouble(struct live_world *world, const struct world_action *action, const char **why);

/* live_regions.c: regions with a cloud each; but for the first three only with world->regions. */
bool live_regions_start(struct live_world *world);                /* before services and vehicles */
void live_regions_stop(struct live_world *world);                 /* after the services */
int64_t live_regions_latency(const struct live_vehicle *vehicle); /* one way, behind the radio */
void live_regions_vehicle(struct live_vehicle *vehicle);
/* The name that a region's cloud of our own wants to hear in a handshake; NULL: none. */
const char *live_regions_endpoint(const struct live_vehicle *vehicle);
/* One service on all brokers: on their buses of this number. NULL: out of memory. */
struct cloud_bus *live_regions_desk(struct live_world *world, uint32_t bus);
struct cloud_bus *live_regions_watch(struct live_world *world, uint32_t bus);
void live_regions_delivered(const struct live_broker *broker, const struct mq5_publish *message);
bool live_regions_choose(struct live_vehicle *vehicle); /* false: it is refused there */
void live_server_reference(void *vehicle, struct span reference, bool for_good);
void live_regions_probe(struct live_vehicle *vehicle, const struct tcu_probe *probe);
void live_regions_step(struct live_vehicle *vehicle, const struct live_step *step);
int64_t live_regions_next(const struct live_world *world);
void live_regions_tick(struct live_world *world);
bool live_regions_can(const struct live_world *world, enum world_action_kind kind);
int64_t live_regions_act(struct live_world *world, const struct world_action *action, const char **why);
void live_regions_journey(struct live_vehicle *vehicle, const struct world_action *action);
int64_t live_regions_outage(struct live_world *world, const struct world_action *action, const char **why);
void live_regions_close(struct live_world *world, int64_t end_us);
/* live_region_child.c: in the cloud's process of a region; options: before the fork. */
void live_region_child_options(struct live_world *world, struct live_broker *broker,
                               struct cloud_serve_options *options);
void live_region_child_order(struct live_child *child, struct cloud *cloud, int64_t now_us,
                             const struct live_order *order);

/* live_identity.c: lifecycle { ... }, and what else clouds in processes of their own are told. */
bool live_tell_clouds(struct live_world *world, const struct live_order *order);
bool live_tell_cloud(const struct live_broker *broker, const struct live_order *order);
void live_forget_executions(struct live_vehicle *vehicle);
bool live_child_connect(struct live_broker *broker); /* before the fork */
void live_child_options(struct live_world *world, struct live_broker *broker, struct cloud_serve_options *options);
/* In both: with a process of its own, or in this one. */
void live_child_prepare(struct live_world *world, struct live_broker *broker,
                        void (*event)(void *context, int64_t now_us, const struct cloud_life_event *event),
                        void *context);
bool live_child_build(struct live_child *child, struct cloud *cloud, int64_t now_us);
void live_child_verify(struct live_child *child, struct cloud *cloud, int64_t now_us,
                       void (*flaw)(void *context, enum counter counter, struct span thing), void *context);
void live_child_order(struct live_child *child, struct cloud *cloud, int64_t now_us, const struct live_order *order);
void live_child_opened(void *child, struct cloud *cloud, int64_t now_us);
void live_child_readable(void *child, struct cloud *cloud, int64_t now_us);
bool live_identity_start(struct live_world *world); /* once loop and fleet's profiles are there, before the vehicles */
void live_identity_stop(struct live_world *world);
void live_identity_verify(struct live_world *world);
struct live_identity *live_identity_of(const struct live_vehicle *vehicle); /* NULL: nobody looks after them */
bool live_dead(const struct live_vehicle *vehicle);                         /* without power */
size_t live_device(const struct live_vehicle *vehicle, char *out, size_t capacity);
bool live_shown(struct live_vehicle *vehicle, struct live_shown *shown);
bool live_identity_write(struct live_vehicle *vehicle);
void live_identity_replaced(struct live_vehicle *vehicle, enum tcu_store_item item); /* before it goes */
void live_power_died(struct live_vehicle *vehicle);
void live_power_back(struct live_vehicle *vehicle);
const char *live_identity_refusal(const struct live_world *world, const struct world_action *action);
int64_t live_identity_act(struct live_world *world, const struct world_action *action);
bool live_store(struct live_vehicle *vehicle, enum tcu_store_item item, struct span value);

/* live_factory.c: what vehicles leave the factory with. */
bool live_factory_open(struct live_world *world); /* before the vehicles */
bool live_factory_identity(struct live_vehicle *vehicle, const char *name);
void live_factory_close(struct live_world *world); /* once all have theirs */

/* live_plain.c: identities on somebody else's broker. */
const char *
live_plain_objection(const struct live_world *world); /* why nobody can look after them there; NULL: somebody does */
bool live_plain_start(struct live_world *world, struct live_broker *broker,
                      struct cloud_bus *remote); /* borrows the bus */
void live_plain_stop(struct live_broker *broker);
void live_plain_order(struct live_plain *plain, const struct live_order *order);
void live_plain_verify(struct live_plain *plain);
void live_plain_due(struct live_world *world);
void live_plain_touched(struct live_world *world); /* after anything that may have set a deadline */
/* A certificate that came about otherwise than through the service: from the factory, from the certificate broker. */
void live_plain_certificate(struct live_vehicle *vehicle, struct span certificate);

/* live_knock.c: certificates that were replaced, shown once more. */
void live_knock_keep(struct live_vehicle *vehicle, struct span certificate, struct span key);
void live_knock(struct live_world *world); /* once the books are closed */
void live_knock_forget(struct live_world *world);

/* live_act.c: life, scripts. */
void live_life(struct live_vehicle *vehicle);
void live_radio_gone(struct live_vehicle *vehicle); /* without a word to the broker; counted */
int64_t live_act(void *context, int64_t now_us, const struct world_action *action, const char **why);
void live_mark(void *context, int64_t now_us, const char *text);
void live_timeline_start(struct live_world *world);
void live_timeline_fire(struct live_world *world, uint32_t entry);

/* live_group.c: several processes, one run. All of these are collective. */
void live_group_join(struct live_world *world);
bool live_group_agree(struct live_world *world, bool good); /* true: everybody is well */
bool live_group_identify(struct live_world *world, int64_t wall_us);
bool live_group_begin(struct live_world *world); /* time begins, at the same moment everywhere */
void live_group_wait(struct live_world *world);
void live_group_merge(struct live_world *world); /* everybody's result and measure into process 0's */
/* Not collective. */
void live_group_stop(struct live_world *world); /* the others shall end early */
bool live_group_stopped(struct live_world *world);
void live_group_note(struct live_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* a figure of this process alone */

static inline uint32_t live_place(const struct live_vehicle *vehicle)
{
    return (uint32_t)(vehicle - vehicle->world->vehicles);
}

static inline struct fleet_parking *live_parking(const struct live_vehicle *vehicle)
{
    struct fleet_parking *parkings = vehicle->world->parkings;
    return parkings ? &parkings[live_place(vehicle)] : NULL;
}

/* Its agent has a link, and the link has no socket any more. */
static inline bool live_link_dead(const struct live_vehicle *vehicle)
{
    return vehicle->stage == STAGE_UP && vehicle->watcher.fd < 0;
}

/* Which the vehicle has where it is now. */
static inline const struct link_profile *live_profile(const struct live_vehicle *vehicle)
{
    return fleet_radio(&vehicle->world->fleet, &vehicle->trace, live_parking(vehicle));
}

#endif
