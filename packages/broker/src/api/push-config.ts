import { badRequest } from '../broker-error.ts';
import type { PushConfig } from '../subscription-config.ts';
import { notYet } from './not-yet.ts';

/** One shape by two names. Source: google.pubsub.v1 PushConfig.attributes. */
const versions = ['v1', 'v1beta2'];
const oldVersion = 'v1beta1';

/** As it is kept, with what Google fills in; without an endpoint, nothing. @throws BrokerError */
export function completedPush(name: string, config: PushConfig): PushConfig {
  const { pushEndpoint = '', attributes = {} } = config;
  if (pushEndpoint !== '' && !/^https?:$/.test(URL.parse(pushEndpoint)?.protocol ?? '')) {
    throw badRequest(
      'push_config.push_endpoint',
      `subscription "${name}": pushEndpoint must be an http or https address, got "${pushEndpoint}"`,
    );
  }
  for (const [key, value] of Object.entries(attributes)) {
    if (key === 'x-goog-version' && value === oldVersion)
      throw notYet(`subscription "${name}": the form of pushes before v1 (x-goog-version ${oldVersion})`);
    if (key === 'x-goog-version' && versions.includes(value)) continue;
    throw badRequest(
      'push_config.attributes',
      `subscription "${name}": the one attribute of a pushConfig is x-goog-version, of ${versions.join(', ')}; got "${key}": "${value}"`,
    );
  }
  return pushEndpoint === '' ? {} : { ...config, attributes: { 'x-goog-version': 'v1', ...attributes } };
}
