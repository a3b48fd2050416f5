// Ask a guest's HTTP/2 server and send it a message: node examples/transport/http2.mjs vsock:3:80 MESSAGE
import http2 from 'node:http2';
import { text } from 'node:stream/consumers';
import { createConnection } from 'waep/transport';

const [address, message = 'hello'] = process.argv.slice(2);
const session = http2.connect('http://guest', {
  createConnection: () => createConnection(address),
});
const stream = session.request({ ':method': 'POST', ':path': '/' });
stream.end(message);
console.log(await text(stream));
session.close();
