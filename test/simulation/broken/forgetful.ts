import parcels from '../../../packages/testing/parcels/simulation.ts';

export default { ...parcels, environment: { PARCELS_FORGETFUL: 'yes' } };
