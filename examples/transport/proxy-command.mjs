// Carry ssh to a guest: ssh -o ProxyCommand='node examples/transport/proxy-command.mjs vsock:3:22' guest
import { createConnection } from 'waep/transport';

const socket = createConnection(process.argv[2]);
process.stdin.pipe(socket);
socket.pipe(process.stdout);
socket.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
// ssh keeps our input open until we are gone.
socket.on('close', () => process.stdin.destroy());
