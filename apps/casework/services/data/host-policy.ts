import { BlockList, isIP } from 'node:net';

/** Whom the service may ask for a statement. */
export type HostPolicy = {
  /**
   * `host` (any port) or `host:port`, as a URL writes them (`[::1]:8080`). The word `loopback` stands for localhost and
   * all loopback addresses.
   */
  readonly allowedHosts: readonly string[];
  /** Ports this system listens on itself, which no address of this machine may be asked at. */
  readonly ownPorts: readonly number[];
};

/** Why a URL may not be asked at all, as far as its text tells; undefined where it may. */
export function hostRefusal(url: URL, { allowedHosts }: HostPolicy): string | undefined {
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    return `has the protocol ${url.protocol}: use http: or https:`;
  if (url.username || url.password) return 'holds a user name or password: leave them out';
  const host = hostOf(url);
  const name = isIP(host) === 6 ? `[${host}]` : host;
  const listed = allowedHosts.some((entry) => [host, name, `${name}:${portOf(url)}`].includes(entry.toLowerCase()));
  if (listed || (isLoopbackHost(host) && allowedHosts.includes('loopback'))) return undefined;
  return `is on ${name}:${portOf(url)}, which is no allowed host: add it to CASEWORK_STATEMENT_HOSTS`;
}

/**
 * Why an allowed host may not be asked at an address it has, without the address: that is not for whoever gave the name; undefined where it may. A name out in the world that leads
 * into this machine or network is how others would make us ask what they can't reach. A listed address is no such lure.
 */
export function addressRefusal(url: URL, address: string, { ownPorts }: HostPolicy): string | undefined {
  const host = hostOf(url);
  const own = isIn(thisMachine, address) && ownPorts.includes(portOf(url));
  if (own) return `leads to port ${portOf(url)} of this system itself: give the address of the bank`;
  if (isLoopbackHost(host))
    return isIn(loopback, address) ? undefined : `leads from ${host} to elsewhere than this machine`;
  if (isIP(host) || !isIn(internal, address)) return undefined;
  return 'leads to an internal address: list that address itself as an allowed host, if it is meant';
}

/** The host without the brackets of IPv6 or the dot that ends a full domain name. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$|\.$/g, '');
}

const loopback = networks('127.0.0.0/8', '::1/128');

const thisMachine = networks('127.0.0.0/8', '::1/128', '0.0.0.0/8', '::/128');

/** What is not the public internet, and the IPv6 networks that carry IPv4 addresses inside. Source: IANA's registries. */
const internal = networks(
  '0.0.0.0/8', // this host
  '10.0.0.0/8', // private
  '100.64.0.0/10', // a carrier's
  '127.0.0.0/8', // loopback
  '169.254.0.0/16', // link-local, and the metadata server of clouds
  '172.16.0.0/12', // private
  '192.0.0.0/24', // protocols
  '192.168.0.0/16', // private
  '198.18.0.0/15', // benchmarks
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, broadcast
  '::/96', // unspecified, loopback, IPv4-compatible
  '64:ff9b::/96', // NAT64
  '64:ff9b:1::/48', // local NAT64
  '2001::/32', // Teredo
  '2002::/16', // 6to4
  'fc00::/7', // private
  'fe80::/10', // link-local
  'fec0::/10', // site-local
  'ff00::/8', // multicast
);

function networks(...list: string[]): BlockList {
  const blocks = new BlockList();
  for (const network of list) {
    const [address, bits] = network.split('/') as [string, string];
    blocks.addSubnet(address, Number(bits), familyOf(address));
  }
  return blocks;
}

/** Also of an IPv4 address inside IPv6 (`::ffff:127.0.0.1`), which BlockList takes for what it stands for. */
function isIn(blocks: BlockList, address: string): boolean {
  const unscoped = address.replace(/%.*$/, '');
  return blocks.check(unscoped, familyOf(unscoped));
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}

function isLoopbackHost(host: string): boolean {
  return isIP(host) ? isIn(loopback, host) : host === 'localhost' || host.endsWith('.localhost');
}

function portOf(url: URL): number {
  return Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
}
