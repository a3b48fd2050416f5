import t from 'tap';
import {
  agentEnding,
  completeLines,
  lacksMemory,
  lastLine,
  panicIsOver,
  panicOf,
  timerIsOff,
} from '../../guest/vm/boot-log.js';

const usual = '[    0.925455] PCI: Fatal: No config space access function found';

t.test('a panic is told in the words of the kernel', async (t) => {
  const lines = completeLines(
    '[    3.7] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n[    3.7] Call Trace:\r\n[',
  );
  t.equal(panicOf(lines), 'VFS: Unable to mount root fs');
  t.equal(lines.length, 2, 'a line that is still being written is none');
  t.equal(panicIsOver(lines), false);
  t.equal(panicIsOver([...lines, '[    3.8] ---[ end Kernel panic - not syncing: VFS ]---']), true);
  t.equal(panicOf([usual]), undefined);
});

t.test('memory is named as the cause only where the kernel ran out of it', async (t) => {
  t.equal(lacksMemory(['[    2.6] Initramfs unpacking failed: write error']), true);
  t.equal(
    lacksMemory([usual, '[    3.7] Kernel panic - not syncing: No working init found.']),
    false,
  );
});

t.test('an agent that ends is told with its own words, without those of others', async (t) => {
  const lines = [
    usual,
    'waep-init: ready',
    'waep-execd: listening on vsock tcp',
    'waep-agent: Invalid profile: "foo".',
    '[    4.000000] random: crng init done',
    'waep-init: the agent ended with status 1',
  ];
  t.equal(agentEnding(lines), 'the agent ended with status 1: waep-agent: Invalid profile: "foo".');
  t.equal(agentEnding(lines.slice(0, -1)), undefined);
});

t.test('the last line is one that says how far the boot got', async (t) => {
  t.equal(lastLine(`waep-init: ready\n${usual}\n\n`), 'waep-init: ready');
  t.equal(lastLine(`${usual}\n`), undefined);
});

t.test('a timer that is measured or given up is told from one that is used', async (t) => {
  const off = `SPIV\t 0x000001ff
LVTT\t 0x000300ec active-hi edge  masked         periodic     Fixed  (vec 236)
Timer\t DCR=0x3 (divide by 16) initial_count = 268435455 current_count = 248890539`;
  t.equal(timerIsOff(off), true);
  t.equal(timerIsOff(off.replace('masked', '')), false);
  t.equal(timerIsOff(off.replace('268435455', '250000')), false);
});
