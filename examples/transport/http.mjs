// Ask a guest's HTTP server: node examples/transport/http.mjs vsock:3:80 [PATH]
import http from 'node:http';
import { agent } from 'waep/transport';

const [address, path = '/'] = process.argv.slice(2);
const guest = agent(address);
http
  .get(`http://guest${path}`, { agent: guest }, (response) => {
    console.log(response.statusCode);
    response.pipe(process.stdout, { end: false });
    response.once('end', () => guest.destroy());
  })
  .on('error', (error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
