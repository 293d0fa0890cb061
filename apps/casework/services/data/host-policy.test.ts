import { expect, test } from 'vitest';
import { addressRefusal, hostRefusal } from './host-policy.ts';

const policy = {
  allowedHosts: ['bank.example', 'api.example:8443', '10.1.2.3', '[fd00::1]:8080', 'loopback'],
  ownPorts: [7001],
};
const hostOnly = { ...policy, allowedHosts: ['bank.example'] };

test.each([
  'http://bank.example/',
  'https://BANK.example:444/',
  'https://bank.example./',
  'https://api.example:8443/',
  'http://10.1.2.3/',
  'http://[fd00::1]:8080/',
  'http://localhost:3000/',
  'http://bank.localhost/',
  'http://127.9.9.9/',
  'http://0x7f.1/',
  'http://[::1]/',
  'http://[::ffff:127.0.0.1]/',
])('%s is on an allowed host', (url) => {
  expect(hostRefusal(new URL(url), policy)).toBeUndefined();
});

test.each([
  'https://api.example/',
  'http://api.example:8444/',
  'http://sub.bank.example/',
  'http://bank.example.evil.example/',
  'http://10.1.2.4/',
  'http://[fd00::1]/',
  'http://0.0.0.0/',
  'http://localhost.example/',
])('%s is not on an allowed host', (url) => {
  expect(hostRefusal(new URL(url), policy)).toContain('is no allowed host');
});

test.each(['http://localhost/', 'http://127.0.0.1/', 'http://[::1]/'])(
  '%s is allowed only where loopback is',
  (url) => {
    expect(hostRefusal(new URL(url), hostOnly)).toContain('is no allowed host');
  },
);

test.each([
  ...[
    '127.0.0.1',
    '10.0.0.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
  ],
  ...['224.0.0.1', '255.255.255.255', '::', '::1', 'fe80::1', 'fe80::1%eth0', 'fd00::1', 'ff02::1', '::ffff:127.0.0.1'],
  ...['::ffff:10.0.0.1', '::ffff:a9fe:a9fe', '::7f00:1', '64:ff9b::7f00:1', '2002:7f00:1::'],
])('a name out in the world may not lead to %s', (address) => {
  expect(addressRefusal(new URL('https://bank.example/'), address, policy)).toContain('leads to an internal address');
});

test.each(['93.184.216.34', '172.32.0.1', '2606:2800:220:1::1', '::ffff:93.184.216.34'])(
  'a name out in the world may lead to %s',
  (address) => {
    expect(addressRefusal(new URL('https://bank.example/'), address, policy)).toBeUndefined();
  },
);

test('an internal address that is listed itself may be asked', () => {
  expect(addressRefusal(new URL('http://10.1.2.3/'), '10.1.2.3', policy)).toBeUndefined();
});

test.each(['10.0.0.1', '93.184.216.34'])('localhost may not lead to %s', (address) => {
  expect(addressRefusal(new URL('http://localhost/'), address, policy)).toContain('to elsewhere than this machine');
});

test.each(['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1', '0.0.0.0'])(
  'our own port is refused at %s',
  (address) => {
    expect(addressRefusal(new URL('http://localhost:7001/'), address, policy)).toContain(
      'port 7001 of this system itself',
    );
  },
);
