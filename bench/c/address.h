// SPDX-License-Identifier: MIT
//
// Stream sockets by the addresses that the rest of this package uses: unix:/path, tcp:HOST:PORT,
// vsock:CID:PORT and, for a client, vsock-mux:/path:PORT.

#ifndef WAEP_BENCH_ADDRESS_H
#define WAEP_BENCH_ADDRESS_H

// Returns a connected, blocking descriptor. Ends the program with a sentence on stderr if it
// cannot.
int address_connect(const char* address);

// Returns a listening descriptor. Ends the program with a sentence on stderr if it cannot.
int address_listen(const char* address);

// Switches Nagle's algorithm off where the socket has one.
void address_no_delay(int fd);

#endif
