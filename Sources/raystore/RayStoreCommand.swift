import ArgumentParser
import RayStoreCluster
@main struct RayStoreCommand: AsyncParsableCommand {}
