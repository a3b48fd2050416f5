// Ask a guest's PostgreSQL server: node examples/transport/postgres.mjs vsock:3:5432 USER [QUERY]
// Needs the package pg.
import pg from 'pg';
import { createConnection } from 'waep/transport';

const [address, user, query = 'select version()'] = process.argv.slice(2);
const client = new pg.Client({
  user,
  database: 'postgres',
  stream: () => createConnection(address),
});
await client.connect();
const { rows } = await client.query(query);
console.log(JSON.stringify(rows));
await client.end();
