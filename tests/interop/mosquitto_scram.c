/* mosquitto_scram.c: a plugin that lets Mosquitto's clients authenticate by SCRAM-SHA-256 (cloud/scram.h), so that another broker's AUTH can be looked at.
 *
 * Its option `users` is a file as `convoy cloud --scram-users` takes it. The packets are Mosquitto's own.
 */
#include "cloud/scram.h"

#include <stdio.h>
#include <stdlib.h>

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

struct client {
    struct client *next;
    const struct mosquitto *who;
    struct cloud_scram_exchange *exchange;
};

static struct cloud_scram *scram;
static struct client *clients;

static struct client *client_of(const struct mosquitto *who)
{
    struct client *client = clients;
    while (client && client->who != who)
        client = client->next;
    if (client || !(client = calloc(1, sizeof(*client))))
        return client;
    client->who = who;
    client->next = clients;
    clients = client;
    return client;
}

static int answer(struct mosquitto_evt_extended_auth *event, enum cloud_authentication_step step)
{
    struct client *client = client_of(event->client);
    if (!client)
        return MOSQ_ERR_NOMEM;
    struct cloud_authentication said = cloud_scram_step(
        scram, &client->exchange, step, SPAN_LITERAL(CLOUD_SCRAM_METHOD), span_of(event->data_in, event->data_in_len));
    if (said.data.length && (event->data_out = mosquitto_malloc(said.data.length))) { /* Mosquitto frees it */
        memcpy(event->data_out, said.data.data, said.data.length);
        event->data_out_len = (uint16_t)said.data.length;
    }
    return said.reason == MQ5_SUCCESS                   ? MOSQ_ERR_SUCCESS
           : said.reason == MQ5_CONTINUE_AUTHENTICATION ? MOSQ_ERR_AUTH_CONTINUE
                                                        : MOSQ_ERR_AUTH;
}

/* CONNECT, and AUTH 0x19. */
static int on_start(int number, void *data, void *context)
{
    struct mosquitto_evt_extended_auth *event = data;
    (void)number, (void)context;
    if (!event->auth_method || strcmp(event->auth_method, CLOUD_SCRAM_METHOD) != 0)
        return MOSQ_ERR_NOT_SUPPORTED;
    return answer(event, CLOUD_AUTHENTICATION_BEGINS);
}

static int on_continue(int number, void *data, void *context)
{
    (void)number, (void)context;
    return answer(data, CLOUD_AUTHENTICATION_GOES_ON);
}

static int on_disconnect(int number, void *data, void *context)
{
    const struct mosquitto_evt_disconnect *event = data;
    (void)number, (void)context;
    for (struct client **at = &clients; *at; at = &(*at)->next) {
        struct client *gone = *at;
        if (gone->who != event->client)
            continue;
        cloud_scram_step(scram, &gone->exchange, CLOUD_AUTHENTICATION_OVER, (struct span){NULL, 0},
                         (struct span){NULL, 0});
        *at = gone->next;
        free(gone);
        break;
    }
    return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_version(int count, const int *versions)
{
    for (int i = 0; i < count; i++)
        if (versions[i] == 5)
            return 5;
    return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *plugin, void **context, struct mosquitto_opt *options, int count)
{
    char error[300] = "there is no option users";
    bool good = false;
    (void)context;
    scram = cloud_scram_create();
    for (int i = 0; scram && i < count; i++)
        if (strcmp(options[i].key, "users") == 0)
            good = cloud_scram_read(scram, options[i].value, error, sizeof(error));
    if (!good) {
        fprintf(stderr, "%s\n", error);
        return MOSQ_ERR_UNKNOWN;
    }
    mosquitto_callback_register(plugin, MOSQ_EVT_EXT_AUTH_START, on_start, NULL, NULL);
    mosquitto_callback_register(plugin, MOSQ_EVT_EXT_AUTH_CONTINUE, on_continue, NULL, NULL);
    mosquitto_callback_register(plugin, MOSQ_EVT_DISCONNECT, on_disconnect, NULL, NULL);
    return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_cleanup(void *context, struct mosquitto_opt *options, int count)
{
    (void)context, (void)options, (void)count;
    return MOSQ_ERR_SUCCESS;
}
