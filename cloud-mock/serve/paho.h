/* paho.h: what the two files of the remote bus ask of each other. */
#ifndef SERVE_PAHO_H
#define SERVE_PAHO_H

#include "cloud/bus.h"

struct paho_endpoint {
    char host[256];
    int port;
    bool tls;
};
/* mqtt://host[:port] or mqtts://host[:port], also with [::1]. false: *error has one line. */
bool paho_endpoint_read(const char *uri, struct paho_endpoint *out, char *error, size_t error_capacity);

/* Paho says only that a connection failed. This goes the same way by hand (name, TCP, TLS with the same files) and says in one line where it
 * ends; "" when it finds nothing wrong. Takes up to timeout_ms. */
void paho_explain(const struct paho_endpoint *endpoint, const struct cloud_bus_remote_options *options, int timeout_ms,
                  char *why, size_t why_capacity);
/* Can the files named be read at all? false: *error. */
bool paho_files_readable(const struct cloud_bus_remote_options *options, char *error, size_t error_capacity);

#endif
