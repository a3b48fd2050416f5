// Fetch from a guest's HTTP server: node examples/transport/fetch.mjs vsock:3:80 [PATH]
// Needs the package undici.
import { Agent, fetch } from 'undici';
import { dispatcher } from 'waep/transport';

const [address, path = '/'] = process.argv.slice(2);
const guest = dispatcher(address, Agent);
const response = await fetch(`http://guest${path}`, { dispatcher: guest });
console.log(response.status);
process.stdout.write(await response.text());
await guest.close();
