"""The balancer: which task goes where and when; one leader decides, standbys follow."""
