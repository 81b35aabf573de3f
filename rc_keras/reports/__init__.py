"""What a model holds and costs: parameters, multiply-accumulates, diagrams."""
