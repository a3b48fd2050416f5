import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, type AgentOptions } from '../../guest/agent/agent.js';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { compile, profiles } from '../../src/policy/index.js';

/** An agent in this process, for this machine's kernel, and the address it listens on. */
export interface LocalAgent {
  agent: Agent;
  address: string;
  close(): Promise<void>;
}

/** Starts an agent on a Unix socket. The caller closes it. */
export async function localAgent(options: Partial<AgentOptions> = {}): Promise<LocalAgent> {
  const folder = mkdtempSync(join(tmpdir(), 'waep-test-'));
  const agent = new Agent({
    rules: compile(profiles.full, kernelNames()),
    profile: 'full',
    name: 'waep-agent/test',
    accept: profiles.full.accept,
    helloTimeoutMs: 60_000,
    maxSessions: 64,
    maxLeaseMs: 60_000,
    silenceMs: 60_000,
    ...options,
  });
  const address = `unix:${join(folder, 'agent.sock')}`;
  await agent.listen(address);
  return {
    agent,
    address,
    close: async () => {
      await agent.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What the session executors of this process have open, one count for each. */
export function executorDescriptors(agent: Agent): number[] {
  return agent.executorPids.map((pid) => readdirSync(`/proc/${pid}/fd`).length);
}

/** The ids of this machine's bpf objects of a kind, by what /proc shows of an executor's. */
export function bpfObjects(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
      return info.match(/^(?:prog|map|link|btf)_id:\s*\d+/gm) ?? [];
    } catch {
      return [];
    }
  });
}
