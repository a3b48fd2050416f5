import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { acceleratorName } from '../../guest/vm/qemu/accelerator.js';

t.test('an accelerator is named by what the processor and the kernel have', async (t) => {
  const machine = (flags: string, ...modules: string[]) => {
    const root = t.testdir();
    const made = join(root, flags.replaceAll(' ', '-'), ...modules);
    mkdirSync(join(made, 'proc'), { recursive: true });
    writeFileSync(join(made, 'proc/cpuinfo'), `processor\t: 0\nflags\t\t: fpu ${flags} lm\n`);
    for (const name of modules) mkdirSync(join(made, 'sys/module', name), { recursive: true });
    return made;
  };
  t.equal(acceleratorName('kvm', machine('vmx', 'kvm', 'kvm_intel')), 'kvm');
  t.equal(acceleratorName('kvm', machine('svm', 'kvm', 'kvm_amd')), 'kvm');
  t.equal(acceleratorName('kvm', machine('vmmcall', 'kvm', 'kvm_pvm')), 'kvm-software');
  t.equal(acceleratorName('kvm', machine('svm', 'kvm', 'kvm_pvm')), 'kvm-software');
  t.equal(acceleratorName('kvm', machine('vmmcall', 'kvm')), 'kvm-software');
  t.equal(acceleratorName('tcg', machine('vmx', 'kvm')), 'tcg');
});
