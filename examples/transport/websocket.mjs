// Talk to a guest's WebSocket server: node examples/transport/websocket.mjs vsock:3:80 MESSAGE
// Needs the package ws.
import { webSocketOptions } from 'waep/transport';
import { WebSocket } from 'ws';

const [address, message = 'hello'] = process.argv.slice(2);
const socket = new WebSocket('ws://guest/', webSocketOptions(address));
socket.on('open', () => socket.send(message));
socket.on('message', (answer) => {
  console.log(String(answer));
  socket.close();
});
socket.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
