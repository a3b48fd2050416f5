/* The kernel's test_maps, with a process for each of its tests. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define main all_at_once
#include "test_maps.c"
#undef main

/* A test that does not end. An emulated guest is slow. */
#define LIMIT_S 300

struct test {
	const char *name;
	void (*run)(unsigned int task, void *data);
	void (*run_plainly)(void);
};

#define DEFINE_TEST(name) void test_##name(void);
#include <map_tests/tests.h>
#undef DEFINE_TEST

/*
 * The tests that run_all_tests() in test_maps.c runs. It has three more, which take many minutes in
 * an emulated guest: map_parallel and map_stress have a hundred processes at a time, and map_large
 * has 32,768 elements of 4 KiB.
 */
static const struct test kinds[] = {
	{ "hashmap", test_hashmap },
	{ "hashmap_percpu", test_hashmap_percpu },
	{ "hashmap_walk", test_hashmap_walk },
	{ "hashmap_zero_seed", .run_plainly = test_hashmap_zero_seed },
	{ "arraymap", test_arraymap },
	{ "arraymap_percpu", test_arraymap_percpu },
	{ "arraymap_percpu_many_keys", .run_plainly = test_arraymap_percpu_many_keys },
	{ "devmap", test_devmap },
	{ "devmap_hash", test_devmap_hash },
	{ "sockmap", test_sockmap },
	{ "map_rdonly", .run_plainly = test_map_rdonly },
	{ "map_wronly", .run_plainly = test_map_wronly },
	{ "reuseport_array", .run_plainly = test_reuseport_array },
	{ "queuemap", test_queuemap },
	{ "stackmap", test_stackmap },
	{ "map_in_map", .run_plainly = test_map_in_map },
};

static const struct test others[] = {
#define DEFINE_TEST(name) { #name, .run_plainly = test_##name },
#include <map_tests/tests.h>
#undef DEFINE_TEST
};

/* Prints "=== NAME", the test's output, and "--- NAME STATUS", with how waitpid(2) has it. */
static void try(const char *group, const struct test *test)
{
	int status = -1;
	pid_t child;

	printf("=== %s/%s\n", group, test->name);
	fflush(NULL);
	child = fork();
	if (child == 0) {
		setpgid(0, 0);
		dup2(STDOUT_FILENO, STDERR_FILENO);
		alarm(LIMIT_S);
		skips = 0;
		if (test->run)
			test->run(0, NULL);
		else
			test->run_plainly();
		fflush(NULL);
		_exit(skips ? 77 : 0);
	}
	if (child > 0) {
		waitpid(child, &status, 0);
		kill(-child, SIGKILL);
	}
	printf("\n--- %s/%s %d\n", group, test->name, status);
}

int main(void)
{
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	for (int i = 0; i < ARRAY_SIZE(kinds); i++)
		try("preallocated", &kinds[i]);
	map_opts.map_flags = BPF_F_NO_PREALLOC;
	for (int i = 0; i < ARRAY_SIZE(kinds); i++)
		try("not preallocated", &kinds[i]);
	for (int i = 0; i < ARRAY_SIZE(others); i++)
		try("others", &others[i]);
	return 0;
}
