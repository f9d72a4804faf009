public import RayStore
internal import GRDB
internal import Logging
internal import Metrics
