/* fleet_attack.h: somebody who can read and write what passes the broker, and has taken a TCU apart (so knows the key that a vehicle's commands are
 * encrypted with, not the one that they are signed with), tries to have cars do what nobody asked for.
 *
 *   forged    a command of his own, encrypted as it must be, signed by himself
 *   replayed  a sealed command that he has seen pass, once more
 *   late      one that he has held back from its vehicle until its time is over
 *
 * Whether a car was taken in is found out by what it did: each attack is kept until the vehicle has answered it.
 */
#ifndef WORLDS_FLEET_ATTACK_H
#define WORLDS_FLEET_ATTACK_H

#include "fleet_remote.h"

struct fleet_attacks;

bool fleet_has_attacks(const struct scenario *scenario);
/* On the way from one desk to its broker: before the desk is opened, with the bus that is returned. vehicle_at: the n-th of the `vehicles` that belong to
 * it. NULL: out of memory. */
struct cloud_bus *fleet_attacks_open(struct fleet_orders *orders, struct fleet *fleet, struct cloud_bus *bus,
                                     uint32_t number, int64_t now_us, uint32_t vehicles,
                                     uint32_t (*vehicle_at)(const struct fleet_orders *orders, uint32_t nth));
void fleet_attacks_close(struct fleet_attacks *attacks);
int64_t fleet_attacks_next(const struct fleet_attacks *attacks);
void fleet_attacks_tick(struct fleet_attacks *attacks, int64_t now_us);
/* What a vehicle did with a command; attacks may be NULL. */
void fleet_attacks_probe(struct fleet *fleet, struct fleet_orders *orders, uint32_t vehicle,
                         const struct fleet_trace *trace, int64_t now_us, const struct tcu_probe *probe);
/* A fault: this vehicle does not look at signatures. */
bool fleet_skips_verification(const struct fleet *fleet, uint32_t vehicle);

#endif
