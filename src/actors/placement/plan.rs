//! Who holds which tenant: a pure function of what every node sees in the store, so that all nodes
//! come to the same answer without asking each other.
//!
//! Balanced: of `n` tenants and `k` nodes each node holds the whole part of `n / k`, or one more.
//! Stable: a tenant moves only when its node is gone or the balance asks for it, and then as few
//! move as can be.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::ids::{NodeId, TenantId};

/// What one look at the store shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Nodes that live and do not drain.
    pub nodes: BTreeSet<NodeId>,
    /// Every tenant that is configured and not parked out of reach.
    pub tenants: BTreeSet<TenantId>,
    /// Leases that have not run out, by tenant; also those of nodes that drain.
    pub leases: BTreeMap<TenantId, NodeId>,
}

/// What one node does about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Free tenants that it claims.
    pub take: Vec<TenantId>,
    /// Tenants of its own that it hands over.
    pub give: Vec<TenantId>,
}

impl View {
    /// The plan of node `me`. A node that drains, or that nobody sees alive, takes nothing and
    /// gives all it holds.
    #[must_use]
    pub fn plan(&self, me: &NodeId) -> Plan {
        if !self.nodes.contains(me) {
            return Plan {
                take: Vec::new(),
                give: self.held_by(me),
            };
        }
        let mut shares = self.shares();
        let floor = self.tenants.len() / self.nodes.len();
        let take = self.hand_out(&mut shares, me);
        let give = self.level(&mut shares, floor, me);
        Plan { take, give }
    }

    fn held_by(&self, node: &NodeId) -> Vec<TenantId> {
        let own = self.leases.iter().filter(|(_, holder)| *holder == node);
        own.map(|(tenant, _)| tenant.clone()).collect()
    }

    /// How many tenants each live node holds.
    fn shares(&self) -> BTreeMap<&NodeId, usize> {
        let mut shares: BTreeMap<&NodeId, usize> = self.nodes.iter().map(|n| (n, 0)).collect();
        for (tenant, node) in &self.leases {
            if self.tenants.contains(tenant)
                && let Some(share) = shares.get_mut(node)
            {
                *share += 1;
            }
        }
        shares
    }

    /// Gives each free tenant, in order, to the node that holds least; returns those for `me`.
    fn hand_out<'v>(
        &'v self,
        shares: &mut BTreeMap<&'v NodeId, usize>,
        me: &NodeId,
    ) -> Vec<TenantId> {
        let mut mine = Vec::new();
        let free = self
            .tenants
            .iter()
            .filter(|t| !self.leases.contains_key(*t));
        for tenant in free {
            let least = shares.iter().min_by_key(|(node, share)| (**share, **node));
            let Some(node) = least.map(|(node, _)| *node) else {
                break;
            };
            if let Some(share) = shares.get_mut(node) {
                *share += 1;
            }
            if node == me {
                mine.push(tenant.clone());
            }
        }
        mine
    }

    /// Levels what is left uneven; returns what `me` gives for it. One tenant after the other goes
    /// from the node that holds most to the one that holds least, until no node is more than one
    /// ahead of another.
    fn level<'v>(
        &'v self,
        shares: &mut BTreeMap<&'v NodeId, usize>,
        floor: usize,
        me: &NodeId,
    ) -> Vec<TenantId> {
        let mut give = 0;
        loop {
            let most = shares.iter().max_by_key(|(node, share)| (**share, **node));
            let least = shares.iter().min_by_key(|(node, share)| (**share, **node));
            let (Some((from, high)), Some((to, low))) = (most, least) else {
                break;
            };
            if *high <= low + 1 || *high <= floor {
                break;
            }
            let (from, to) = (*from, *to);
            if let Some(share) = shares.get_mut(from) {
                *share -= 1;
            }
            if let Some(share) = shares.get_mut(to) {
                *share += 1;
            }
            if from == me {
                give += 1;
            }
        }
        let mut own = self.held_by(me);
        own.retain(|tenant| self.tenants.contains(tenant));
        // Tenants that are no longer configured are nobody's.
        let mut given: Vec<TenantId> = self
            .held_by(me)
            .into_iter()
            .filter(|tenant| !self.tenants.contains(tenant))
            .collect();
        given.extend(own.into_iter().rev().take(give));
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(n: usize) -> NodeId {
        NodeId::new(format!("node-{n}")).unwrap()
    }

    fn tenant(n: usize) -> TenantId {
        TenantId::new(format!("t{n:03}")).unwrap()
    }

    fn view(nodes: &[usize], tenants: usize, leases: &[(usize, usize)]) -> View {
        View {
            nodes: nodes.iter().map(|n| node(*n)).collect(),
            tenants: (0..tenants).map(tenant).collect(),
            leases: leases.iter().map(|(t, n)| (tenant(*t), node(*n))).collect(),
        }
    }

    /// Lets every node act once on what all see; returns how many tenants changed hands.
    fn round(view: &mut View, everyone: &[usize]) -> usize {
        let plans: Vec<(NodeId, Plan)> = everyone
            .iter()
            .map(|n| (node(*n), view.plan(&node(*n))))
            .collect();
        let mut moved = 0;
        for (node, plan) in plans {
            for tenant in plan.give {
                assert_eq!(view.leases.remove(&tenant), Some(node.clone()));
                moved += 1;
            }
            for tenant in plan.take {
                let taken = view.leases.insert(tenant, node.clone());
                assert_eq!(taken, None, "two nodes claim one tenant");
            }
        }
        moved
    }

    fn spread(view: &View) -> Vec<usize> {
        let mut held: BTreeMap<&NodeId, usize> = view.nodes.iter().map(|n| (n, 0)).collect();
        for node in view.leases.values() {
            *held.entry(node).or_default() += 1;
        }
        held.into_values().collect()
    }

    #[test]
    fn a_lone_node_takes_all() {
        let view = view(&[1], 3, &[]);
        assert_eq!(view.plan(&node(1)).take, [tenant(0), tenant(1), tenant(2)]);
    }

    #[test]
    fn a_new_node_gets_its_share_and_no_more_moves() {
        let mut view = view(&[1, 2], 10, &(0..10).map(|t| (t, 1)).collect::<Vec<_>>());
        assert_eq!(round(&mut view, &[1, 2]), 5);
        round(&mut view, &[1, 2]);
        assert_eq!(spread(&view), [5, 5]);
        assert_eq!(round(&mut view, &[1, 2]), 0);
    }

    #[test]
    fn what_is_even_enough_stays() {
        let mut view = view(&[1, 2], 3, &[(0, 1), (1, 1), (2, 2)]);
        assert_eq!(round(&mut view, &[1, 2]), 0);
        let same = view.clone();
        round(&mut view, &[1, 2]);
        assert_eq!(view, same);
    }

    #[test]
    fn a_draining_node_gives_all_and_takes_none() {
        let view = view(&[2], 2, &[(0, 1)]);
        let plan = view.plan(&node(1));
        assert_eq!((plan.give, plan.take), (vec![tenant(0)], vec![]));
    }

    #[test]
    fn a_tenant_that_is_gone_from_the_configuration_is_let_go() {
        let view = view(&[1], 1, &[(0, 1), (5, 1)]);
        assert_eq!(view.plan(&node(1)).give, [tenant(5)]);
    }

    proptest! {
        /// From any state: two rounds bring balance, no more tenants move than the balance asks
        /// for, and then all is still.
        #[test]
        fn two_rounds_bring_balance_and_rest(
            tenants in 0_usize..60,
            held in prop::collection::vec(0_usize..6, 60),
            alive in prop::collection::btree_set(1_usize..6, 1..5),
        ) {
            let alive: Vec<usize> = alive.into_iter().collect();
            let leases: Vec<(usize, usize)> = held
                .iter()
                .enumerate()
                .filter(|(t, n)| *t < tenants && alive.contains(n))
                .map(|(t, n)| (t, *n))
                .collect();
            let mut view = view(&alive, tenants, &leases);
            let (floor, rest) = (tenants / alive.len(), tenants % alive.len());
            let before = spread(&view);
            let moved = round(&mut view, &alive);
            // Whoever held more than anyone may in the end had to give the difference, at least
            // down to the greater share, at most down to the lesser.
            let least: usize = before.iter().map(|n| n.saturating_sub(floor + usize::from(rest > 0))).sum();
            let most: usize = before.iter().map(|n| n.saturating_sub(floor)).sum();
            prop_assert!((least..=most).contains(&moved), "{least} <= {moved} <= {most}");
            round(&mut view, &alive);
            let after = spread(&view);
            prop_assert_eq!(after.iter().sum::<usize>(), tenants);
            prop_assert!(after.iter().all(|n| *n == floor || *n == floor + 1), "{:?}", after);
            let still = view.clone();
            prop_assert_eq!(round(&mut view, &alive), 0);
            prop_assert_eq!(view, still);
        }
    }
}
