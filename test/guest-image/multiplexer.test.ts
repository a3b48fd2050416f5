import t from 'tap';
import { multiplexerProblem } from '../../guest/vm/qemu/vsock.js';
import { suspicionOf } from '../../src/transport/mux.js';

t.test('a multiplexer that loses what a kernel sends is known by its version', (t) => {
  for (const release of ['6.12.68', '6.12.117+deb13-cloud-amd64', '6.17.0', '7.2.13-cloud-amd64']) {
    t.equal(
      multiplexerProblem('0.3.0-2', release),
      `vhost-device-vsock 0.3.0-2 loses what Linux ${release} sends in packets of more than 32 KiB`,
    );
    t.equal(multiplexerProblem('0.4.0', release), undefined);
  }
  for (const release of ['5.10.0-32-cloud-amd64', '6.1.0-57-cloud-amd64', '6.12.67', '6.16.9']) {
    t.equal(multiplexerProblem('0.3.0', release), undefined, release);
  }
  t.end();
});

t.test('bytes that are lost on the way are said to be the multiplexer’s fault, perhaps', (t) => {
  t.match(suspicionOf('vsock-mux:/run/vm:1024'), /vhost-device-vsock 0\.3\.0/);
  t.equal(suspicionOf('vsock-device:/run/vm:1024'), undefined);
  t.equal(suspicionOf('tcp:127.0.0.1:1024'), undefined);
  t.end();
});
